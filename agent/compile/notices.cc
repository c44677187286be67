#include "agent/compile/notices.h"

#include "agent/compile/authorization_policy.h"
#include "agent/compile/peer_authentication.h"
#include "proto/crd/opaque.pb.h"

namespace weft::compile {

namespace {

// Kinds of other API groups (Secret, Role, ..) are no business of the mesh, so nothing is said.
bool is_mesh_group(std::string_view api_version) {
  const std::string_view group = api_version.substr(0, api_version.find('/'));
  return group.ends_with(".istio.io") || group == "gateway.networking.k8s.io";
}

}  // namespace

std::vector<std::string> notices_about(const objects::Object& object, const MeshConfig& config) {
  std::vector<std::string> notices;
  if (const auto* policy = object.as<crd::security::AuthorizationPolicy>()) {
    notices = compile_policy(*policy, config).notices;
  } else if (const auto* peer = object.as<crd::security::PeerAuthentication>()) {
    notices = notices_of(*peer, config);
  } else if (object.as<crd::opaque::Opaque>() != nullptr) {
    if (is_mesh_group(object.api_version())) {
      notices.emplace_back("is accepted and not yet honoured");
    }
    return notices;
  } else if (const auto* service = object.as<crd::core::Service>()) {
    if (service->spec().type() == "ExternalName") {
      notices.emplace_back("ExternalName: its traffic is not carried by the mesh");
    }
  }
  const std::string_view waypoint = value_of(object.metadata().labels(), "istio.io/use-waypoint");
  if (!waypoint.empty() && waypoint != "none") {
    notices.emplace_back("istio.io/use-waypoint: there are no waypoints yet, traffic goes without");
  }
  return notices;
}

}  // namespace weft::compile
