#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"
#include "ztunnel/routing/cors.h"
#include "ztunnel/routing/header_changes.h"
#include "ztunnel/routing/rewrite.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft::routing {

// One of a Forward's destinations.
struct Weighted {
  uint64_t up_to = 0;  // the sum of the weights up to and with this one
  const weft::route::Destination* destination = nullptr;
  HeaderChanges request_headers;
  HeaderChanges response_headers;
  std::optional<Rewrite> rewrite;  // instead of the route's
};

// One compiled route of a Table, which owns it and the messages that it points to.
struct Route {
  const weft::route::HttpRoute* config = nullptr;
  // Its name for logs, "rule.match", for each of its matches; one where it has none.
  std::vector<std::string> names;
  Rewrite rewrite;
  Rewrite redirect_path;
  HeaderChanges request_headers;
  HeaderChanges response_headers;
  std::optional<Cors> cors;
  std::vector<Weighted> destinations;
  bool says_facts = false;  // a header's value is a format: Facts are wanted

  // kInvalid names the field.
  static Result<Route> compile(const weft::route::HttpRoute& config);
};

}  // namespace weft::routing
