#pragma once

#include "agent/model/policy.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/base/spiffe_id.h"

#include <optional>
#include <vector>

namespace weft::analyze {

// A connection that somebody asks about; addresses that nobody knows yet are absent.
struct Call {
  std::optional<SpiffeId> source;  // none: plain text
  std::optional<IpAddress> source_ip;
  std::optional<IpAddress> destination_ip;
  uint16_t port = 0;  // the workload's own
};

enum class Answer { kNo, kDepends, kYes };  // depends: on an address that is not known

Answer matches(const model::Match& match, const Call& call);
// By which rule (from 0) the policy matches; where none does for sure, one that might.
struct Matched {
  Answer answer = Answer::kNo;
  size_t rule = 0;
};
Matched matches(const model::Policy& policy, const Call& call);

// What ztunnel would decide, and by which of the policies (none: by there being no ALLOW, or none
// that matches). DENY before ALLOW; dry runs decide nothing.
struct Decision {
  Answer allowed = Answer::kYes;
  const model::Policy* by = nullptr;
};
Decision decide(const std::vector<model::Policy>& policies, const Call& call);

}  // namespace weft::analyze
