#pragma once

#include "proto/route.pb.h"

#include <string>
#include <vector>

namespace weft::routing {

// One compiled route of a Table, which owns it.
struct Route {
  const weft::route::HttpRoute* config = nullptr;  // of the table's own copy
  // Its name for logs, "rule.match", for each of its matches; one where it has none.
  std::vector<std::string> names;
};

}  // namespace weft::routing
