#include "agent/compile/analyze/checks.h"
#include "agent/compile/l7/notices.h"
#include "agent/compile/notices.h"

namespace weft::analyze {

namespace {

// The compiler says in words what it does not honour; here is what kind of news that is. What
// matches no line is kNotHonoured.
struct Kind {
  std::string_view part;
  Rule rule;
};
constexpr Kind kKinds[] = {
    {"a node proxy sees no HTTP", kHttpAtL4},
    {"cannot be asked", kDeniedInstead},
    {"AUDIT is not supported", kNoEffect},
    {"not enforced", kNoEffect},
    {"never match", kIneffectiveMatch},
    {"is not found", kMissing},
    {"does not exist", kMissing},
    {"has no effect", kNoEffect},
    {"is not recognised by its address", kAddressesRequired},
};

Rule rule_of(std::string_view notice) {
  for (const Kind& kind : kKinds) {
    if (notice.contains(kind.part)) return kind.rule;
  }
  return kNotHonoured;
}

}  // namespace

void check_honoured(const Cluster& cluster, Findings& findings) {
  for (const ObjectPtr& object : cluster.objects()) {
    for (const std::string& notice : compile::notices_about(*object, cluster.config())) {
      findings.add(rule_of(notice), object->key(), notice);
    }
    if (!l7::is_l7(*object)) continue;
    for (const std::string& notice :
         l7::notices_about(*object, cluster.store(), cluster.config())) {
      findings.add(rule_of(notice), object->key(), notice);
    }
  }
}

}  // namespace weft::analyze
