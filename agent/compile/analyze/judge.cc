// The semantics of policies, once more and slowly, for people who ask; ztunnel/policy has them for
// connections. A test holds both against each other's words.

#include "agent/compile/analyze/judge.h"

#include <algorithm>

namespace weft::analyze {

namespace {

Answer yes_if(bool condition) { return condition ? Answer::kYes : Answer::kNo; }

Answer all_of(std::initializer_list<Answer> answers) { return std::min(answers); }

bool fits(const model::Pattern& pattern, const std::string& text) {
  using Kind = model::Pattern::Kind;
  switch (pattern.kind) {
    case Kind::kExact:
      return text == pattern.text;
    case Kind::kPrefix:
      return text.starts_with(pattern.text);
    case Kind::kSuffix:
      return text.ends_with(pattern.text);
    case Kind::kPresent:
      return !text.empty();
  }
  return false;
}

// A field and its negation; `is` says whether a value is the connection's.
template <class Values, class Is>
Answer field(const Values& any, const Values& none, Is is) {
  return yes_if((any.empty() || std::ranges::any_of(any, is)) && std::ranges::none_of(none, is));
}

// Somebody without an identity has nothing that is asked for and nothing that is excluded.
template <class Values, class Is>
Answer identity_field(const Values& any, const Values& none, bool has_identity, Is is) {
  return has_identity ? field(any, none, is) : yes_if(any.empty());
}

Answer address_field(const std::vector<Cidr>& any, const std::vector<Cidr>& none,
                     const std::optional<IpAddress>& address) {
  if (any.empty() && none.empty()) return Answer::kYes;
  if (!address) return Answer::kDepends;
  return field(any, none, [&](const Cidr& cidr) { return cidr.contains(*address); });
}

}  // namespace

Answer matches(const model::Match& match, const Call& call) {
  if (match == model::Match{}) return Answer::kNo;
  const bool known = call.source.has_value();
  const SpiffeId source = call.source.value_or(SpiffeId{});
  const auto is_namespace = [&](const model::Pattern& one) { return fits(one, source.ns); };
  const auto is_principal = [&](const model::Pattern& one) {
    return fits(one, source.principal());
  };
  const auto is_account = [&](const model::Account& one) {
    return one.ns == source.ns && one.name == source.service_account;
  };
  return all_of(
      {field(match.ports, match.not_ports, [&](uint32_t port) { return port == call.port; }),
       address_field(match.sources, match.not_sources, call.source_ip),
       address_field(match.destinations, match.not_destinations, call.destination_ip),
       identity_field(match.namespaces, match.not_namespaces, known, is_namespace),
       identity_field(match.principals, match.not_principals, known, is_principal),
       identity_field(match.accounts, match.not_accounts, known, is_account)});
}

Matched matches(const model::Policy& policy, const Call& call) {
  Matched best;
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    Answer rule = Answer::kYes;
    for (const model::Clause& clause : policy.rules[i].all_of) {
      Answer any = clause.any_of.empty() ? Answer::kYes : Answer::kNo;
      for (const model::Match& match : clause.any_of) any = std::max(any, matches(match, call));
      rule = std::min(rule, any);
    }
    if (rule > best.answer) best = {rule, i};
  }
  return best;
}

Decision decide(const std::vector<model::Policy>& policies, const Call& call) {
  using Action = model::Policy::Action;
  Decision decision;
  for (const model::Policy& policy : policies) {
    if (policy.dry_run || policy.action != Action::kDeny) continue;
    const Answer denied = matches(policy, call).answer;
    if (denied == Answer::kYes) return {Answer::kNo, &policy};
    if (denied == Answer::kDepends) decision = {Answer::kDepends, &policy};
  }
  bool any = false;
  Decision allowed{Answer::kNo, nullptr};
  for (const model::Policy& policy : policies) {
    if (policy.dry_run || policy.action != Action::kAllow) continue;
    any = true;
    const Answer answer = matches(policy, call).answer;
    if (answer > allowed.allowed) allowed = {answer, &policy};
  }
  if (!any || allowed.allowed == Answer::kYes) {
    if (decision.allowed == Answer::kYes && any) decision.by = allowed.by;
    return decision;
  }
  return allowed;
}

}  // namespace weft::analyze
