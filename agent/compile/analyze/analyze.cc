#include "agent/compile/analyze/analyze.h"

#include "agent/compile/analyze/checks.h"
#include "agent/compile/analyze/mistakes.h"

#include <algorithm>

namespace weft::analyze {

namespace {

using Check = void (*)(const Cluster& cluster, Findings& findings);

constexpr Check kChecks[] = {
    check_services_have_pods,
    check_policies_select,
    check_policies_are_enforced,
    check_one_peer_authentication,
    check_service_entries,
    check_sidecars,
    check_service_ports,
    check_peer_ports,
    check_policy_ports,
    check_namespace_labels,
    check_pods_can_join,
    check_own_namespaces,
    check_sources,
    check_targets,
    check_route_hosts,
    check_waypoints_exist,
    check_policies_admit_waypoints,
    check_virtual_services,
    check_conflicting_hosts,
    check_subsets_select,
    check_honoured,
};

}  // namespace

std::vector<Finding> analyze(const Input& input) {
  Findings findings(input.objects);
  std::set<objects::Key> unread;
  for (const Error& error : input.mistakes) {
    const Mistake mistake = understand(error);
    findings.add_for_origin(mistake.rule, mistake.origin, mistake.message);
    if (mistake.object) unread.insert(*mistake.object);
  }
  const Cluster cluster(input.objects, unread, input.config);
  for (const Check check : kChecks) check(cluster, findings);
  return findings.take();
}

const std::vector<Rule>& rules() {
  static const std::vector<Rule> all = {kMissing,
                                        kMalformed,
                                        kConflictingHosts,
                                        kPortRequired,
                                        kUnreachableRule,
                                        kIneffectiveMatch,
                                        kSubsetSelectsNothing,
                                        kSidecarsOverlap,
                                        kTwoSidecars,
                                        kTwoLabels,
                                        kSelectsNothing,
                                        kAddressesRequired,
                                        kNoEffect,
                                        kUnknownHost,
                                        kForeign,
                                        kTwice,
                                        kNotHonoured,
                                        kHttpAtL4,
                                        kDeniedInstead,
                                        kNoSuchPortName,
                                        kUndeclaredPort,
                                        kOutsideMesh,
                                        kStaysOutside,
                                        kOtherLabel,
                                        kUnknownMode,
                                        kForgetsWaypoint,
                                        kNobodyRunsAs,
                                        kOnlyOldest,
                                        kNoEndpoint,
                                        kHostTwice};
  return all;
}

}  // namespace weft::analyze
