#pragma once

#include "agent/compile/compiler.h"
#include "agent/compile/store.h"
#include "agent/model/policy.h"

#include <optional>
#include <string>
#include <vector>

// PeerAuthentication, for node proxies: policies that deny plain text. The narrowest scope that
// says something counts: port, workload, namespace, mesh (the root namespace), PERMISSIVE; within a
// scope the oldest object. A selector in the root namespace selects nothing, as in Istio's ambient
// mode.
namespace weft::compile {

// '_' cannot stand in the name of an AuthorizationPolicy.
constexpr const char* kStaticStrictName = "istio_converted_static_strict";
constexpr const char* kConvertedPrefix = "converted_peer_authentication_";

// Denies what comes without an identity; workloads under STRICT refer to it.
model::Policy static_strict(const MeshConfig& config);
// Whether anything can refer to it.
bool needs_static_strict(const Store& store);
// An object whose ports differ from its workloads' mode: its own policy. Nothing where
// static_strict or no policy says the same.
std::optional<model::Policy> compile_peer_authentication(
    const crd::security::PeerAuthentication& object, const Store& store, const MeshConfig& config);
// The keys of the policies for a workload with these labels.
std::vector<std::string> peer_policies_of(const std::string& ns, const Labels& labels,
                                          const Store& store, const MeshConfig& config);
std::vector<std::string> notices_of(const crd::security::PeerAuthentication& object,
                                    const MeshConfig& config);

}  // namespace weft::compile
