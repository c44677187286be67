#pragma once

#include "agent/compile/l7/backend.h"
#include "agent/compile/l7/routes_by_parent.h"

#include <string>

namespace weft::l7 {

// What the service's routes are attached to: the object that it is of.
std::string parent_key(const Backend& service);

// Whether the route is attached to this port of the service.
bool is_attached(const objects::Object& route, const Backend& service, uint32_t port);

}  // namespace weft::l7
