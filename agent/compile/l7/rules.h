#pragma once

#include "agent/compile/l7/resolver.h"
#include "proto/crd/virtual_service.pb.h"

#include <string>
#include <vector>

namespace weft::l7 {

using Rule = crd::networking::HttpRoute;

// The http rules of a VirtualService with whole host names and with its delegates' rules in place
// of those that delegate. A delegate that is missing, or conflicts, makes no rule; `resolver` is
// told that it was looked for.
std::vector<Rule> rules_of(const crd::networking::VirtualService& object, Resolver& resolver);

// A delegate's rule where a root's rule delegates to it: both conditions must hold, and what the
// delegate does not say is the root's. False: the conditions conflict.
bool merge_rule(const Rule& root, Rule& delegate);

}  // namespace weft::l7
