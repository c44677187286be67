#pragma once

#include "agent/objects/object.h"
#include "agent/objects/tree.h"

#include <string>
#include <vector>

namespace weft::control::kube {

// One condition as the Gateway API has it.
struct GatewayCondition {
  std::string type;
  bool is_true = false;
  std::string reason;
  std::string message;
};

// A status as the server has it and as it is to be, in the Gateway API's form: observedGeneration
// is a number, and lastTransitionTime moves with a condition's status only.
class GatewayStatus {
 public:
  // `server`: the object as it was read, which is kept by the caller.
  GatewayStatus(const objects::Tree& server, std::string now);

  // Of the object itself, or what else has conditions: `before` is its status as the server has it.
  objects::Tree conditions(const std::vector<GatewayCondition>& wanted,
                           const objects::Tree* before) const;
  // The whole patch; nothing where the server has all that it says.
  std::string patch_of(const objects::Object& object, objects::Tree status) const;
  const objects::Tree* before() const { return status_; }

 private:
  const objects::Tree* status_;
  int64_t generation_ = 0;
  std::string now_;
};

}  // namespace weft::control::kube
