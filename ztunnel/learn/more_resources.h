#pragma once

#include "ztunnel/learn/state_builder.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weft::learn {

// What a role learns beside addresses and policies: resources of types that State is not made of.
// Every call is on the learner's thread.
class MoreResources {
 public:
  virtual ~MoreResources() = default;
  virtual std::vector<std::string> types() const = 0;  // "type.googleapis.com/.."
  // One response of one of these types; what of it was refused. The first of a type is its whole
  // set.
  virtual std::vector<StateBuilder::Rejection> apply(const DeltaResponse& response) = 0;
  // By name, what to tell control that we have; see StateBuilder.
  virtual std::map<std::string, std::string> versions(std::string_view type) const = 0;
  // Every type has come once.
  virtual bool is_complete() const = 0;
};

}  // namespace weft::learn
