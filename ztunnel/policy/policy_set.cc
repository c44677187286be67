#include "ztunnel/policy/policy_set.h"

namespace weft::policy {
namespace {

// Whether a value can only pass if it is one of `any.exact`.
bool is_exact(const Field<StringSet>& field) {
  return !field.any.exact.empty() && field.any.prefixes.empty() && field.any.suffixes.empty() &&
         !field.any.presence;
}

std::string account_key(std::string_view ns, std::string_view name) {
  std::string key(ns);
  key += '/';
  key += name;
  return key;
}

// Whether only callers that the match names can match it. An empty match never does.
bool names_callers(const Match& match) {
  return match.empty() || is_exact(match.principals) || !match.service_accounts.any.empty() ||
         is_exact(match.namespaces);
}

}  // namespace

void PolicySet::Index::add(size_t place, const Rule& rule) {
  const auto clause = std::ranges::find_if(rule.clauses, [](const Clause& one) {
    return !one.matches.empty() && std::ranges::all_of(one.matches, names_callers);
  });
  if (clause == rule.clauses.end()) {
    for_everyone.push_back({place, &rule});
    return;
  }
  for (const Match& match : clause->matches) {
    if (match.empty()) continue;
    if (is_exact(match.principals)) {
      for (const auto& name : match.principals.any.exact) {
        by_principal[name].push_back({place, &rule});
      }
    } else if (!match.service_accounts.any.empty()) {
      for (const auto& [ns, name] : match.service_accounts.any.values) {
        by_account[account_key(ns, name)].push_back({place, &rule});
      }
    } else {
      for (const auto& ns : match.namespaces.any.exact) by_namespace[ns].push_back({place, &rule});
    }
  }
}

template <class Look>
void PolicySet::Index::for_lists(const Subject& subject, Look look) const {
  look(for_everyone);
  if (!subject.connection.source) return;
  const SpiffeId& source = *subject.connection.source;
  const auto in = [&](const Table& table, std::string_view key) {
    if (const auto found = table.find(key); found != table.end()) look(found->second);
  };
  in(by_principal, subject.principal);
  in(by_namespace, source.ns);
  if (!by_account.empty()) in(by_account, account_key(source.ns, source.service_account));
}

size_t PolicySet::Index::find(const Subject& subject) const {
  size_t first = kNone;
  for_lists(subject, [&](const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
      if (entry.place >= first) return;
      if (entry.rule->matches(subject)) first = entry.place;
    }
  });
  return first;
}

PolicySet::PolicySet(PolicyList policies) : policies_(std::move(policies)) {
  for (size_t place = 0; place < policies_.size(); ++place) {
    const Policy& policy = *policies_[place];
    if (policy.dry_run) continue;  // decides nothing
    const bool denies = policy.action == istio::security::DENY;
    if (!denies) has_allow_ = true;
    if (!policy.caveat.empty()) {
      if (denies) denies_all_ = std::min(denies_all_, place);
      continue;
    }
    for (const Rule& rule : policy.rules) (denies ? denies_ : allows_).add(place, rule);
  }
}

const Policy* PolicySet::denial(const Subject& subject) const {
  return at(std::min(denies_all_, denies_.find(subject)));
}

const Policy* PolicySet::permission(const Subject& subject) const {
  return at(allows_.find(subject));
}

size_t PolicySet::candidates(const Subject& subject) const {
  size_t count = 0;
  for (const Index* index : {&denies_, &allows_}) {
    index->for_lists(subject, [&](const std::vector<Entry>& entries) { count += entries.size(); });
  }
  return count;
}

}  // namespace weft::policy
