#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/http/message.h"

#include <cstdint>
#include <optional>
#include <string>

namespace weft::routing {

// xxHash64, seed 0: what Envoy's rings and tables are made of.
uint64_t hash_text(std::string_view text);

// What a request is hashed on: requests of one value go to one endpoint as long as it lives.
struct HashKey {
  std::optional<uint64_t> hash;  // none: the request lacks it, any endpoint will do
  std::string set_cookie;        // not empty: the value of a set-cookie for the response
};

// `dice` makes the value of a cookie where none came and the policy wants one.
HashKey hash_key(const weft::route::Balancing::HashOn& on, const http::RequestHead& request,
                 const IpAddress& client, uint64_t dice);

}  // namespace weft::routing
