#pragma once

#include "agent/objects/report.h"
#include "proto/crd/core.pb.h"
#include "proto/crd/networking.pb.h"
#include "proto/crd/security.pb.h"

// What must hold of an object beyond its fields' types; one function a kind, in validate_*.cc.
// Messages name what was expected.
namespace weft::objects {

void validate_meta(const crd::core::ObjectMeta& meta, Report& report);
void validate_namespace(const crd::core::Namespace& object, Report& report);
void validate_service_account(const crd::core::ServiceAccount& object, Report& report);
void validate_config_map(const crd::core::ConfigMap& object, Report& report);
void validate_service(const crd::core::Service& object, Report& report);
void validate_pod(const crd::core::Pod& object, Report& report);
void validate_deployment(const crd::core::Deployment& object, Report& report);
void validate_node(const crd::core::Node& object, Report& report);
void validate_endpoint_slice(const crd::core::EndpointSlice& object, Report& report);
void validate_service_entry(const crd::networking::ServiceEntry& object, Report& report);
void validate_workload_entry(const crd::networking::WorkloadEntry& object, Report& report);
void validate_virtual_service(const crd::networking::VirtualService& object, Report& report);
void validate_sidecar(const crd::networking::Sidecar& object, Report& report);
void validate_authorization_policy(const crd::security::AuthorizationPolicy& object,
                                   Report& report);
void validate_peer_authentication(const crd::security::PeerAuthentication& object, Report& report);

}  // namespace weft::objects
