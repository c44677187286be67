#pragma once

#include "agent/identity/supplied_ca.h"
#include "ztunnel/base/result.h"

#include <string>
#include <string_view>

namespace weft::control::kube {

// A CA in a Secret, in the form of Istio's Secret cacerts. No text of this file's ever holds a key.

// kInvalid names the key of the Secret's data that is missing or not base64.
Result<identity::CaFiles> read_ca_secret(std::string_view json);

// The Secret to be created.
std::string new_ca_secret(const std::string& ns, const std::string& name,
                          const identity::CaFiles& files);

// Whether one of ours has written to this object (metadata.managedFields).
bool was_written_by(std::string_view json, std::string_view manager);

}  // namespace weft::control::kube
