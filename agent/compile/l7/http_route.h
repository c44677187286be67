#pragma once

#include "agent/compile/l7/rules.h"

#include <optional>

namespace weft::l7 {

// What a rule is in force for.
struct Scope {
  std::string ns;      // of the object that it stands in
  uint32_t port = 0;   // the service's, that clients ask for
  std::string origin;  // "VirtualService ns/name"
};

// A VirtualService's rule for requests to one port of a service. Nothing where no request there can
// match it. Rules after one that everything matches are never asked.
struct CompiledRule {
  weft::route::HttpRoute route;
  bool catch_all = false;
};
std::optional<CompiledRule> compile_rule(const Rule& rule, const Scope& scope, Resolver& resolver);

}  // namespace weft::l7
