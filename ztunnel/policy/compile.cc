#include "ztunnel/policy/matchers.h"

// Checks an Authorization and compiles it. Malformed values are errors. What only a newer control
// plane knows (a kind of string match, a condition in an unknown field) is a caveat: the policy
// then decides against the caller, because ignoring a condition would widen an ALLOW, and an empty
// match would silence a DENY.

namespace weft::policy {
namespace {

namespace pb = istio::security;

constexpr uint32_t kPortMax = 65535;

// Where in a resource something is wrong: "rules[0].clauses[1].matches[0].".
class Compiler {
 public:
  explicit Compiler(const pb::Authorization& resource) : resource_(resource) {}

  Result<std::shared_ptr<const Policy>> run() {
    if (resource_.name().empty()) return wrong("name", "expected a name");
    if (!pb::Scope_IsValid(resource_.scope())) {
      return wrong("scope", "expected GLOBAL, NAMESPACE or WORKLOAD_SELECTOR, got " +
                                std::to_string(resource_.scope()));
    }
    if (!pb::Action_IsValid(resource_.action())) {
      return wrong("action", "expected ALLOW or DENY, got " + std::to_string(resource_.action()));
    }
    if (resource_.scope() == pb::NAMESPACE && resource_.namespace_().empty()) {
      return wrong("namespace", "expected a namespace where the scope is NAMESPACE");
    }
    auto policy = std::make_shared<Policy>();
    policy->key = resource_.namespace_() + "/" + resource_.name();
    policy->ns = resource_.namespace_();
    policy->scope = resource_.scope();
    policy->action = resource_.action();
    policy->dry_run = resource_.dry_run();
    for (int i = 0; i < resource_.rules_size(); ++i) {
      place_ = "rules[" + std::to_string(i) + "].";
      policy->rules.push_back(TRY(rule(resource_.rules(i))));
    }
    policy->caveat = caveat_;
    return policy;
  }

 private:
  Fail wrong(std::string_view field, const std::string& expected) const {
    return fail(Code::kInvalid, "Authorization " + resource_.namespace_() + "/" + resource_.name() +
                                    ": " + place_ + std::string(field) + ": " + expected);
  }

  void not_understood(std::string_view what) {
    if (caveat_.empty()) caveat_ = place_ + std::string(what) + " is unknown to this version";
  }

  template <class Message>
  void check_known(const Message& message, std::string_view what) {
    if (message.GetReflection()->GetUnknownFields(message).empty()) return;
    not_understood(what);
  }

  Result<Rule> rule(const pb::Rule& from) {
    check_known(from, "a field of the rule");
    const std::string outer = place_;
    Rule result;
    for (int i = 0; i < from.clauses_size(); ++i) {
      place_ = outer + "clauses[" + std::to_string(i) + "].";
      check_known(from.clauses(i), "a field of the clause");
      Clause& clause = result.clauses.emplace_back();
      const std::string clause_place = place_;
      for (int j = 0; j < from.clauses(i).matches_size(); ++j) {
        place_ = clause_place + "matches[" + std::to_string(j) + "].";
        clause.matches.push_back(TRY(match(from.clauses(i).matches(j))));
      }
    }
    return result;
  }

  Result<Match> match(const pb::Match& from) {
    check_known(from, "a condition of the match");
    if (from.extensions_size() > 0) not_understood("extensions");
    Match result;
    result.namespaces = {strings(from.namespaces(), "namespaces"),
                         strings(from.not_namespaces(), "not_namespaces")};
    result.principals = {strings(from.principals(), "principals"),
                         strings(from.not_principals(), "not_principals")};
    result.service_accounts = {accounts(from.service_accounts()),
                               accounts(from.not_service_accounts())};
    result.source_ips = {TRY(cidrs(from.source_ips(), "source_ips")),
                         TRY(cidrs(from.not_source_ips(), "not_source_ips"))};
    result.destination_ips = {TRY(cidrs(from.destination_ips(), "destination_ips")),
                              TRY(cidrs(from.not_destination_ips(), "not_destination_ips"))};
    result.destination_ports = {TRY(ports(from.destination_ports(), "destination_ports")),
                                TRY(ports(from.not_destination_ports(), "not_destination_ports"))};
    return result;
  }

  template <class Values>
  StringSet strings(const Values& from, std::string_view field) {
    StringSet result;
    for (const pb::StringMatch& value : from) {
      switch (value.match_type_case()) {
        case pb::StringMatch::kExact:
          result.exact.push_back(value.exact());
          break;
        case pb::StringMatch::kPrefix:
          result.prefixes.push_back(value.prefix());
          break;
        case pb::StringMatch::kSuffix:
          result.suffixes.push_back(value.suffix());
          break;
        case pb::StringMatch::kPresence:
          result.presence = true;
          break;
        case pb::StringMatch::MATCH_TYPE_NOT_SET:
          not_understood(std::string(field) + ": the kind of string match");
          break;
      }
      check_known(value, field);
    }
    std::ranges::sort(result.exact);
    return result;
  }

  template <class Values>
  SortedSet<ServiceAccount> accounts(const Values& from) {
    SortedSet<ServiceAccount> result;
    for (const pb::ServiceAccountMatch& value : from) {
      result.values.emplace_back(value.namespace_(), value.serviceaccount());
      check_known(value, "service_accounts");
    }
    std::ranges::sort(result.values);
    return result;
  }

  template <class Values>
  Result<CidrSet> cidrs(const Values& from, std::string_view field) {
    CidrSet result;
    for (int i = 0; i < from.size(); ++i) {
      const std::string place = std::string(field) + "[" + std::to_string(i) + "]";
      Result<Cidr> cidr = this->cidr(from.Get(i));
      if (!cidr) return wrong(place, cidr.error().to_string());
      result.prefixes.push_back(*cidr);
      check_known(from.Get(i), field);
    }
    return result;
  }

  static Result<Cidr> cidr(const pb::Address& from) {
    constexpr uint32_t kMappedBits = 96;
    const IpAddress address = TRY(IpAddress::from_bytes(from.address()));
    const bool mapped = from.address().size() == 16 && address.is_v4();
    if (!mapped) return Cidr::make(address, from.length());
    if (from.length() < kMappedBits) {
      return fail(Code::kInvalid,
                  "a v4-mapped prefix has at least 96 bits, not " + std::to_string(from.length()));
    }
    return Cidr::make(address, from.length() - kMappedBits);
  }

  template <class Values>
  Result<SortedSet<uint32_t>> ports(const Values& from, std::string_view field) const {
    SortedSet<uint32_t> result;
    for (int i = 0; i < from.size(); ++i) {
      if (from.Get(i) > kPortMax) {
        return wrong(std::string(field) + "[" + std::to_string(i) + "]",
                     "expected a port up to 65535, got " + std::to_string(from.Get(i)));
      }
      result.values.push_back(from.Get(i));
    }
    std::ranges::sort(result.values);
    return result;
  }

  const pb::Authorization& resource_;
  std::string place_;
  std::string caveat_;
};

}  // namespace

Result<std::shared_ptr<const Policy>> compile(const pb::Authorization& resource) {
  return Compiler(resource).run();
}

}  // namespace weft::policy
