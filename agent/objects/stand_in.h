#pragma once

#include "agent/objects/object.h"

#include <memory>
#include <string_view>
#include <vector>

namespace weft::objects {

// On a stand-in: why what it stands for could not be read.
constexpr const char* kUnreadableAnnotation = "weft.io/unreadable";

// What is to be in force of a text that has mistakes and never was good. Whom its policies were to
// refuse is not known, so their place is taken by the strictest policy for the same workloads:
// those of the selector where that can be read, otherwise the namespace.
//   AuthorizationPolicy  denies everything
//   PeerAuthentication   STRICT
// AUDIT, dry run and what is for waypoints (targetRefs) refuse nobody and have no stand-in.
// Policies of the same text that are good are given as they are; other kinds are not.
std::vector<std::shared_ptr<const Object>> security_of(std::string_view text,
                                                       std::string_view origin);

}  // namespace weft::objects
