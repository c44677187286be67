#include "ztunnel/policy/authorize.h"

#include "ztunnel/policy/policy_set.h"

namespace weft::policy {

bool StringSet::contains(std::string_view value) const {
  if (presence && !value.empty()) return true;
  if (std::ranges::binary_search(exact, value, std::less<>{})) return true;
  return std::ranges::any_of(prefixes,
                             [&](const std::string& p) { return value.starts_with(p); }) ||
         std::ranges::any_of(suffixes, [&](const std::string& s) { return value.ends_with(s); });
}

bool Match::empty() const {
  return namespaces.empty() && principals.empty() && service_accounts.empty() &&
         source_ips.empty() && destination_ips.empty() && destination_ports.empty();
}

bool Match::matches(const Subject& subject) const {
  if (empty()) return false;
  const Connection& connection = subject.connection;
  if (!destination_ports.passes(uint32_t{connection.destination.port}) ||
      !destination_ips.passes(connection.destination.ip) ||
      !source_ips.passes(connection.source_ip)) {
    return false;
  }
  if (!connection.source) {
    return namespaces.passes_nobody() && principals.passes_nobody() &&
           service_accounts.passes_nobody();
  }
  const SpiffeId& source = *connection.source;
  return namespaces.passes(source.ns) && principals.passes(subject.principal) &&
         (service_accounts.empty() ||
          service_accounts.passes(ServiceAccount(source.ns, source.service_account)));
}

namespace {

bool clause_matches(const Clause& clause, const Subject& subject) {
  return clause.matches.empty() || std::ranges::any_of(clause.matches, [&](const Match& match) {
           return match.matches(subject);
         });
}

}  // namespace

bool Rule::matches(const Subject& subject) const {
  return std::ranges::all_of(clauses,
                             [&](const Clause& clause) { return clause_matches(clause, subject); });
}

std::shared_ptr<const PolicySet> make_set(PolicyList policies) {
  return std::make_shared<const PolicySet>(std::move(policies));
}

Verdict authorize(const PolicySets& sets, const Connection& connection) {
  if (std::ranges::all_of(sets, [](const PolicySet* set) { return set == nullptr; })) {
    return {.allowed = true, .policy = {}, .reason = {}};
  }
  const Subject subject(connection);
  bool allow_exists = false;
  for (const PolicySet* set : sets) {
    if (set == nullptr) continue;
    allow_exists = allow_exists || set->has_allow();
    if (const Policy* policy = set->denial(subject)) {
      return {.allowed = false,
              .policy = policy->key,
              .reason = "explicitly denied by: " + policy->key};
    }
  }
  if (!allow_exists) return {.allowed = true, .policy = {}, .reason = {}};
  for (const PolicySet* set : sets) {
    if (set == nullptr) continue;
    if (const Policy* policy = set->permission(subject)) {
      return {.allowed = true, .policy = policy->key, .reason = {}};
    }
  }
  return {.allowed = false, .policy = {}, .reason = "allow policies exist, but none allowed"};
}

Verdict authorize(const PolicyList& policies, const Connection& connection) {
  const PolicySet set(policies);
  return authorize(PolicySets{&set, nullptr, nullptr}, connection);
}

const std::string& key_of(const Policy& policy) { return policy.key; }
istio::security::Scope scope_of(const Policy& policy) { return policy.scope; }
const std::string& namespace_of(const Policy& policy) { return policy.ns; }
const std::string& caveat_of(const Policy& policy) { return policy.caveat; }

}  // namespace weft::policy
