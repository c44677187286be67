#pragma once

#include "agent/compile/analyze/cluster.h"
#include "agent/compile/analyze/finding.h"

// The checks, a function for each question; the table of them is in analyze.cc. Each looks at
// everything there is and adds what it finds.
namespace weft::analyze {

// selectors.cc: whom an object means.
void check_services_have_pods(const Cluster& cluster, Findings& findings);
void check_policies_select(const Cluster& cluster, Findings& findings);
void check_policies_are_enforced(const Cluster& cluster, Findings& findings);
void check_one_peer_authentication(const Cluster& cluster, Findings& findings);

// ports.cc: ports that no container has.
void check_service_ports(const Cluster& cluster, Findings& findings);
void check_peer_ports(const Cluster& cluster, Findings& findings);
void check_policy_ports(const Cluster& cluster, Findings& findings);

// enrolment.cc: who is in the mesh, and whether that is what the labels' author meant.
void check_namespace_labels(const Cluster& cluster, Findings& findings);
void check_pods_can_join(const Cluster& cluster, Findings& findings);

// references.cc: what is named and does not exist.
void check_own_namespaces(const Cluster& cluster, Findings& findings);
void check_sources(const Cluster& cluster, Findings& findings);
void check_targets(const Cluster& cluster, Findings& findings);
void check_route_hosts(const Cluster& cluster, Findings& findings);

// routes.cc: VirtualServices and DestinationRules.
void check_virtual_services(const Cluster& cluster, Findings& findings);
void check_conflicting_hosts(const Cluster& cluster, Findings& findings);
void check_subsets_select(const Cluster& cluster, Findings& findings);

// services.cc: ServiceEntries and Sidecars.
void check_service_entries(const Cluster& cluster, Findings& findings);
void check_sidecars(const Cluster& cluster, Findings& findings);
// Whether a workload or a WorkloadEntry of the namespace has these labels.
bool selects_any(const Cluster& cluster, const std::string& ns, const compile::Labels& wanted);

// waypoints.cc: whether what is to pass a waypoint can.
void check_waypoints_exist(const Cluster& cluster, Findings& findings);
void check_policies_admit_waypoints(const Cluster& cluster, Findings& findings);

// honoured.cc: what the compiler says it does not do.
void check_honoured(const Cluster& cluster, Findings& findings);

}  // namespace weft::analyze
