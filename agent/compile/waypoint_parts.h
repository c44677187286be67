#pragma once

#include "agent/objects/object.h"
#include "proto/crd/core.pb.h"
#include "proto/crd/gateway_api.pb.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::compile {

// What runs a waypoint's pods, as the place where they run has it.
struct WaypointProgram {
  std::string image;                           // for a cluster; the sandbox has the command alone
  std::vector<std::string> command;            // the program, without its role
  std::vector<std::string> flags;              // whom to ask, by what token; may hold $(POD_UID)
  google::protobuf::Value volumes = {};        // of the pod
  google::protobuf::Value volume_mounts = {};  // of its container
  google::protobuf::Value resources = {};
  google::protobuf::Value image_pull_secrets = {};
  std::string image_pull_policy = {};
};

// The objects that are made for a waypoint's Gateway, and gone with it: account, Service and
// Deployment, all of the Gateway's name. Labels and annotations of its infrastructure are on all of
// them. Pure. The Deployment says nothing about replicas: they are the user's.
struct WaypointParts {
  std::shared_ptr<crd::core::ServiceAccount> account;
  std::shared_ptr<crd::core::Service> service;
  std::shared_ptr<crd::core::Deployment> deployment;
};
WaypointParts waypoint_parts(const crd::gateway_api::Gateway& gateway,
                             const WaypointProgram& program);

}  // namespace weft::compile
