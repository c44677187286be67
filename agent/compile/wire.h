#pragma once

#include "agent/compile/compiler.h"
#include "agent/model/policy.h"
#include "agent/model/service.h"
#include "agent/model/workload.h"

#include <google/protobuf/message.h>

#include <string>

namespace weft::compile {

constexpr const char* kAddressType = "istio.workload.Address";
constexpr const char* kAuthorizationType = "istio.security.Authorization";

// The model as it goes on the wire. Equal values give equal bytes.
Resource to_resource(const model::Workload& workload);
Resource to_resource(const model::Service& service);
Resource to_resource(const model::Policy& policy);
// What is made as a message from the start.
Resource to_resource(const char* type, std::string name, const google::protobuf::Message& message);

Resource removal_of(const Resource& resource);

}  // namespace weft::compile
