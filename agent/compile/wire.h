#pragma once

#include "agent/compile/compiler.h"
#include "agent/model/policy.h"
#include "agent/model/service.h"
#include "agent/model/workload.h"

namespace weft::compile {

constexpr const char* kAddressType = "istio.workload.Address";
constexpr const char* kAuthorizationType = "istio.security.Authorization";

// The model as it goes on the wire. Equal values give equal bytes.
Resource to_resource(const model::Workload& workload);
Resource to_resource(const model::Service& service);
Resource to_resource(const model::Policy& policy);

}  // namespace weft::compile
