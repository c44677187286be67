#pragma once

#include "ztunnel/base/result.h"
#include "ztunnel/http/message.h"
#include "ztunnel/routing/route.h"
#include "ztunnel/routing/table.h"

#include <cstdint>
#include <optional>
#include <string_view>

// What becomes of a request that took a route, step by step as the proxy takes them: an answer of
// the route's own, a destination, what is changed on the way there and on the way back. Dice are
// the caller's: any numbers, evenly spread.

namespace weft::routing {

// An answer without a destination.
struct Answer {
  http::ResponseHead head;
  std::string_view body;  // the route's
};

// A preflight's, a redirect's or the direct response's; none: the request is forwarded. The route's
// response changes are still to be made. kLimit: the path that a redirect makes is too long.
Result<std::optional<Answer>> answer(const Match& match, const http::RequestHead& request);

// Of the route's destinations, by weight; null: there is none (500).
const Weighted* choose(const Route& route, uint64_t dice);

// Whether what happens so often in a million happens now.
bool falls(uint32_t per_million, uint64_t dice);

// Headers first, which see what the client asked; then authority and path, whose old values go into
// x-envoy-original-host and x-envoy-original-path. kLimit: the path is too long.
Result<void> change_request(const Match& match, const Weighted& chosen, const Facts& facts,
                            http::RequestHead& request);

// `chosen` is null where the answer is the route's own. `request` as the client sent it, or as it
// went on.
void change_response(const Route& route, const Weighted* chosen, const Facts& facts,
                     const http::RequestHead& request, http::ResponseHead& response);

}  // namespace weft::routing
