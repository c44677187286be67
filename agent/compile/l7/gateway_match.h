#pragma once

#include "proto/crd/gateway_routes.pb.h"
#include "proto/route.pb.h"

#include <compare>
#include <cstddef>

namespace weft::l7 {

// Where a match stands among all of a service's: the smallest is asked first.
struct Rank {
  int path = 0;     // 0: exact, 1: prefix, 2: regular expression
  long length = 0;  // of the path, negative: the longest first
  long method = 0;  // the others likewise
  long headers = 0;
  long query = 0;
  size_t age = 0;  // of its route among the others
  size_t rule = 0;
  size_t match = 0;
  auto operator<=>(const Rank&) const = default;
};

// One match of an HTTPRoute, or of a GRPCRoute, whose method is a path.
void compile_gateway_match(const crd::gateway_api::HttpRouteMatch& match, bool is_grpc,
                           weft::route::HttpMatch& out, Rank& rank);

}  // namespace weft::l7
