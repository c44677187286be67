// A second evaluator, written directly on the protobuf messages with no regard to speed, must agree
// with authorize() on 100 000 random sets of policies and five times as many connections.
#include "ztunnel/policy/policy_set.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <set>

namespace weft::policy {
namespace {

namespace pb = istio::security;

bool naive_string(const pb::StringMatch& match, const std::string& value) {
  if (match.has_exact()) return value == match.exact();
  if (match.has_prefix()) return value.rfind(match.prefix(), 0) == 0;
  if (match.has_suffix()) {
    const std::string& suffix = match.suffix();
    return value.size() >= suffix.size() && value.substr(value.size() - suffix.size()) == suffix;
  }
  return !value.empty();
}

bool naive_cidr(const pb::Address& match, const IpAddress& ip) {
  const std::string wanted = match.address();
  const std::string got = ip.to_bytes();
  if (wanted.size() != got.size()) return false;
  for (uint32_t bit = 0; bit < match.length(); ++bit) {
    const auto at = [&](const std::string& s) {
      return (static_cast<uint8_t>(s[bit / 8]) >> (7 - bit % 8)) & 1;
    };
    if (at(wanted) != at(got)) return false;
  }
  return true;
}

template <class Positive, class Negative, class Test>
bool naive_field(const Positive& positive, const Negative& negative, Test test) {
  bool any = positive.empty();
  for (const auto& value : positive) any = any || test(value);
  bool none = true;
  for (const auto& value : negative) none = none && !test(value);
  return any && none;
}

bool naive_match(const pb::Match& match, const Connection& c) {
  if (match.ByteSizeLong() == 0) return false;
  const auto principal = [&](const pb::StringMatch& m) {
    return c.source && naive_string(m, c.source->to_string().substr(9));
  };
  const auto ns = [&](const pb::StringMatch& m) {
    return c.source && naive_string(m, c.source->ns);
  };
  const auto account = [&](const pb::ServiceAccountMatch& m) {
    return c.source && m.namespace_() == c.source->ns &&
           m.serviceaccount() == c.source->service_account;
  };
  const auto source = [&](const pb::Address& m) { return naive_cidr(m, c.source_ip); };
  const auto destination = [&](const pb::Address& m) { return naive_cidr(m, c.destination.ip); };
  const auto port = [&](uint32_t p) { return p == c.destination.port; };
  return naive_field(match.principals(), match.not_principals(), principal) &&
         naive_field(match.namespaces(), match.not_namespaces(), ns) &&
         naive_field(match.service_accounts(), match.not_service_accounts(), account) &&
         naive_field(match.source_ips(), match.not_source_ips(), source) &&
         naive_field(match.destination_ips(), match.not_destination_ips(), destination) &&
         naive_field(match.destination_ports(), match.not_destination_ports(), port);
}

bool naive_policy(const pb::Authorization& policy, const Connection& c) {
  for (const auto& rule : policy.rules()) {
    bool all = true;
    for (const auto& clause : rule.clauses()) {
      bool any = clause.matches().empty();
      for (const auto& match : clause.matches()) any = any || naive_match(match, c);
      all = all && any;
    }
    if (all) return true;
  }
  return false;
}

struct Naive {
  bool allowed = false;
  std::set<std::string> by;  // the policies that may be named as the reason; empty: none is
};

Naive naive_authorize(const std::vector<pb::Authorization>& policies, const Connection& c) {
  bool allow_exists = false;
  std::set<std::string> denials;
  std::set<std::string> permissions;
  for (const auto& policy : policies) {
    if (policy.dry_run()) continue;
    const std::string key = policy.namespace_() + "/" + policy.name();
    if (policy.action() == pb::ALLOW) allow_exists = true;
    if (naive_policy(policy, c)) (policy.action() == pb::DENY ? denials : permissions).insert(key);
  }
  if (!denials.empty()) return {false, denials};
  return {!allow_exists || !permissions.empty(), permissions};
}

// Random policies over so few names, addresses and ports that they often match.
class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed) {}

  Connection connection() {
    Connection c;
    if (below(4) != 0) c.source = SpiffeId{pick({"td", "te"}), ns(), account()};
    c.source_ip = *IpAddress::from_bytes(address());
    c.destination = {*IpAddress::from_bytes(address()), static_cast<uint16_t>(80 + below(3))};
    return c;
  }

  pb::Authorization policy() {
    pb::Authorization p;
    p.set_name("p" + std::to_string(below(1000)));
    p.set_namespace_("n");
    p.set_action(below(2) != 0 ? pb::ALLOW : pb::DENY);
    p.set_dry_run(below(6) == 0);
    for (uint32_t rules = below(3); rules > 0; --rules) {
      auto* rule = p.add_rules();
      for (uint32_t clauses = below(3); clauses > 0; --clauses) {
        auto* clause = rule->add_clauses();
        for (uint32_t matches = below(3); matches > 0; --matches) fill(*clause->add_matches());
      }
    }
    return p;
  }

  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }

 private:
  std::string pick(std::initializer_list<const char*> from) {
    return *(from.begin() + below(static_cast<uint32_t>(from.size())));
  }
  std::string ns() { return pick({"web", "webs", "prod"}); }
  std::string account() { return pick({"alice", "bob", "malice"}); }
  std::string address() {
    const char last = static_cast<char>(below(4));
    if (below(4) == 0) return std::string("\xfd", 1) + std::string(14, '\0') + last;
    return std::string("\x0a\x00", 2) + static_cast<char>(below(2)) + last;
  }

  void string(pb::StringMatch& m, const std::string& value) {
    switch (below(4)) {
      case 0:
        m.set_exact(value);
        break;
      case 1:
        m.set_prefix(value.substr(0, below(static_cast<uint32_t>(value.size()) + 1)));
        break;
      case 2:
        m.set_suffix(value.substr(below(static_cast<uint32_t>(value.size()) + 1)));
        break;
      default:
        m.mutable_presence();
        break;
    }
  }
  void cidr(pb::Address& m) {
    m.set_address(address());
    m.set_length(below(static_cast<uint32_t>(m.address().size()) * 8 + 1));
  }
  void fill(pb::Match& m) {
    const auto principal = [&] { return "td/ns/" + ns() + "/sa/" + account(); };
    const auto sa = [&](pb::ServiceAccountMatch& to) {
      to.set_namespace_(ns());
      to.set_serviceaccount(account());
    };
    if (below(4) == 0) string(*m.add_principals(), principal());
    if (below(4) == 0) string(*m.add_principals(), principal());
    if (below(6) == 0) string(*m.add_not_principals(), principal());
    if (below(4) == 0) string(*m.add_namespaces(), ns());
    if (below(6) == 0) string(*m.add_not_namespaces(), ns());
    if (below(4) == 0) sa(*m.add_service_accounts());
    if (below(6) == 0) sa(*m.add_not_service_accounts());
    if (below(4) == 0) cidr(*m.add_source_ips());
    if (below(6) == 0) cidr(*m.add_not_source_ips());
    if (below(4) == 0) cidr(*m.add_destination_ips());
    if (below(6) == 0) cidr(*m.add_not_destination_ips());
    if (below(4) == 0) m.add_destination_ports(80 + below(3));
    if (below(6) == 0) m.add_not_destination_ports(80 + below(3));
  }

  std::mt19937 random_;
};

// What the policies together do, so that the test shows that it asks about everything.
void count_fields(const pb::Match& match, std::map<std::string, size_t>& fields) {
  const auto* descriptor = match.GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (match.GetReflection()->FieldSize(match, field) > 0) ++fields[field->name()];
  }
}

TEST(Differential, AgreesWithTheNaiveEvaluator) {
  Maker maker(20240607);
  size_t allowed = 0;
  size_t named = 0;
  size_t dry = 0;
  std::map<std::string, size_t> fields;
  constexpr size_t kSets = 100'000;
  constexpr size_t kConnections = 5;
  for (size_t i = 0; i < kSets; ++i) {
    std::vector<pb::Authorization> resources;
    std::array<PolicyList, 3> parts;  // of mesh, namespace and workload: who is where cannot matter
    for (uint32_t n = maker.below(4); n > 0; --n) {
      resources.push_back(maker.policy());
      dry += resources.back().dry_run() ? 1 : 0;
      for (const auto& rule : resources.back().rules()) {
        for (const auto& clause : rule.clauses()) {
          for (const auto& match : clause.matches()) count_fields(match, fields);
        }
      }
      auto policy = compile(resources.back());
      ASSERT_TRUE(policy) << policy.error().to_string();
      parts[maker.below(3)].push_back(*policy);
    }
    std::array<std::shared_ptr<const PolicySet>, 3> kept;
    PolicySets sets{};
    for (size_t part = 0; part < parts.size(); ++part) {
      if (parts[part].empty()) continue;
      kept[part] = make_set(std::move(parts[part]));
      sets[part] = kept[part].get();
    }
    for (size_t j = 0; j < kConnections; ++j) {
      const Connection c = maker.connection();
      const Verdict verdict = authorize(sets, c);
      const Naive naive = naive_authorize(resources, c);
      ASSERT_EQ(verdict.allowed, naive.allowed) << [&] {
        std::string text;
        for (const auto& r : resources) text += r.DebugString();
        return text;
      }();
      ASSERT_EQ(verdict.policy.empty(), naive.by.empty());
      if (!naive.by.empty()) ASSERT_TRUE(naive.by.contains(verdict.policy)) << verdict.policy;
      ASSERT_EQ(verdict.allowed, verdict.reason.empty());
      allowed += verdict.allowed ? 1 : 0;
      named += verdict.allowed && !verdict.policy.empty() ? 1 : 0;
    }
  }
  // The random policies are no test if they all say the same, or leave something out.
  constexpr size_t kAll = kSets * kConnections;
  EXPECT_GT(allowed, kAll / 5);
  EXPECT_LT(allowed, kAll * 4 / 5);
  EXPECT_GT(named, kAll / 50);
  EXPECT_GT(dry, kSets / 10);
  EXPECT_EQ(fields.size(), 12U) << "every field of a match but extensions";
  for (const auto& [field, count] : fields) EXPECT_GT(count, kSets / 10) << field;
}

// A namespace with a policy for each of a thousand callers.
TEST(PolicySet, LooksAtThePoliciesThatNameTheCaller) {
  PolicyList policies;
  for (int i = 0; i < 1000; ++i) {
    pb::Authorization p;
    p.set_name("p" + std::to_string(i));
    p.set_namespace_("n");
    p.set_action(i % 2 == 0 ? pb::ALLOW : pb::DENY);
    pb::Rule& rule = *p.add_rules();
    rule.add_clauses()->add_matches()->add_destination_ports(80);
    pb::Match& match = *rule.add_clauses()->add_matches();
    switch (i % 3) {
      case 0:
        match.add_principals()->set_exact("td/ns/web/sa/a" + std::to_string(i));
        break;
      case 1:
        match.add_service_accounts()->set_namespace_("web");
        match.mutable_service_accounts(0)->set_serviceaccount("a" + std::to_string(i));
        break;
      default:
        match.add_namespaces()->set_exact("web" + std::to_string(i));
        break;
    }
    policies.push_back(*compile(p));
  }
  const PolicySet set(policies);
  Connection c;
  c.source = SpiffeId{"td", "web", "a600"};
  c.destination.port = 80;
  EXPECT_EQ(set.candidates(Subject(c)), 1U);
  EXPECT_EQ(authorize(PolicySets{&set}, c).policy, "n/p600");
  c.source->service_account = "a601";
  EXPECT_EQ(authorize(PolicySets{&set}, c).reason, "explicitly denied by: n/p601");
  c.source->ns = "web602";
  EXPECT_EQ(authorize(PolicySets{&set}, c).policy, "n/p602");
  c.source.reset();
  EXPECT_EQ(set.candidates(Subject(c)), 0U);
  EXPECT_FALSE(authorize(PolicySets{&set}, c).allowed);
}

}  // namespace
}  // namespace weft::policy
