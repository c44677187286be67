// Security as a readable table: one row is one policy, one connection and what must come of it.
#include "ztunnel/policy/authorize.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace weft::policy {
namespace {

namespace pb = istio::security;
using testing::HasSubstr;

pb::Authorization parse(const std::string& text) {
  pb::Authorization result;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &result)) << text;
  return result;
}

std::shared_ptr<const Policy> policy(const std::string& text) {
  auto compiled = compile(parse("name: 'p' namespace: 'ns' " + text));
  EXPECT_TRUE(compiled) << compiled.error().to_string();
  return *compiled;
}

Connection connection(std::string_view source, std::string_view source_ip = "10.1.0.5",
                      std::string_view destination = "10.2.0.9:8080") {
  Connection result;
  if (!source.empty()) result.source = *SpiffeId::parse(source);
  result.source_ip = *IpAddress::parse(source_ip);
  result.destination = *SocketAddress::parse(destination);
  return result;
}

constexpr std::string_view kAlice = "spiffe://td/ns/web/sa/alice";

// Whether a policy whose only rule has this one match fires for the connection; asked through an
// ALLOW (allowed) and a DENY (refused), which must agree.
bool fires(const std::string& match, const Connection& with) {
  const std::string rules = " rules { clauses { matches { " + match + " } } }";
  const bool allowed = authorize({policy("action: ALLOW" + rules)}, with).allowed;
  const bool refused = !authorize({policy("action: DENY" + rules)}, with).allowed;
  EXPECT_EQ(allowed, refused) << match;
  return allowed;
}

struct Row {
  const char* match;
  Connection with;
  bool fires;
};

// fd00::/8.
constexpr const char* kInV6Prefix = R"(source_ips { address: "\375\000\000\000\000\000\000\000)"
                                    R"(\000\000\000\000\000\000\000\000" length: 8 })";
// ::ffff:10.1.0.0/112, that is 10.1.0.0/16.
constexpr const char* kInMappedPrefix = R"(source_ips { address: "\000\000\000\000\000\000\000\000)"
                                        R"(\000\000\377\377\n\001\000\000" length: 112 })";

TEST(Authorize, EveryKindOfMatch) {
  const Connection alice = connection(kAlice);
  const Connection nobody = connection("");
  const Connection v6 = connection(kAlice, "fd00::5", "[fd00::9]:8080");
  const Row rows[] = {
      {"principals { exact: 'td/ns/web/sa/alice' }", alice, true},
      {"principals { exact: 'spiffe://td/ns/web/sa/alice' }", alice, false},
      {"principals { exact: 'td/ns/web/sa/bob' }", alice, false},
      {"principals { exact: 'td/ns/web/sa/alic' }", alice, false},
      {"principals { exact: '' }", alice, false},
      {"principals { prefix: 'td/ns/web/' }", alice, true},
      {"principals { prefix: 'spiffe://' }", alice, false},
      {"principals { prefix: 'ns/' }", alice, false},
      {"principals { suffix: '/sa/alice' }", alice, true},
      {"principals { suffix: '/sa/bob' }", alice, false},
      {"principals { presence {} }", alice, true},
      {"principals { exact: 'x' } principals { suffix: 'alice' }", alice, true},
      {"not_principals { exact: 'td/ns/web/sa/alice' }", alice, false},
      {"not_principals { exact: 'td/ns/web/sa/bob' }", alice, true},
      {"not_principals { presence {} }", alice, false},
      {"principals { presence {} } not_principals { prefix: 'td/ns/web' }", alice, false},
      {"namespaces { exact: 'web' }", alice, true},
      {"namespaces { prefix: 'we' }", alice, true},
      {"namespaces { suffix: 'b' }", alice, true},
      {"namespaces { exact: 'prod' }", alice, false},
      {"not_namespaces { exact: 'web' }", alice, false},
      {"not_namespaces { exact: 'prod' }", alice, true},
      {"service_accounts { namespace: 'web' serviceAccount: 'alice' }", alice, true},
      {"service_accounts { namespace: 'prod' serviceAccount: 'alice' }", alice, false},
      {"not_service_accounts { namespace: 'web' serviceAccount: 'alice' }", alice, false},
      {"not_service_accounts { namespace: 'web' serviceAccount: 'bob' }", alice, true},
      // Without an identity positive matches never fire and negative ones pass.
      {"principals { presence {} }", nobody, false},
      {"principals { prefix: '' }", nobody, false},
      {"namespaces { presence {} }", nobody, false},
      {"namespaces { prefix: '' }", nobody, false},
      {"service_accounts { namespace: '' serviceAccount: '' }", nobody, false},
      {"not_principals { presence {} }", nobody, true},
      {"not_namespaces { exact: 'web' }", nobody, true},
      {"not_service_accounts { namespace: 'web' serviceAccount: 'alice' }", nobody, true},
      {"principals { presence {} } not_namespaces { exact: 'x' }", nobody, false},
      {"not_principals { presence {} } destination_ports: 8080", nobody, true},
      // Addresses.
      {R"(source_ips { address: "\n\001\000\000" length: 16 })", alice, true},
      {R"(source_ips { address: "\n\001\377\377" length: 16 })", alice, true},
      {R"(source_ips { address: "\n\002\000\000" length: 16 })", alice, false},
      {R"(source_ips { address: "\n\001\000\005" length: 32 })", alice, true},
      {R"(source_ips { address: "\n\001\000\004" length: 32 })", alice, false},
      {R"(source_ips { address: "\000\000\000\000" length: 0 })", alice, true},
      {R"(source_ips { address: "\000\000\000\000" length: 0 })", v6, false},
      {R"(not_source_ips { address: "\n\001\000\000" length: 16 })", alice, false},
      {R"(not_source_ips { address: "\n\002\000\000" length: 16 })", alice, true},
      {kInV6Prefix, v6, true},
      {kInV6Prefix, alice, false},
      {kInMappedPrefix, alice, true},
      {R"(destination_ips { address: "\n\002\000\000" length: 16 })", alice, true},
      {R"(not_destination_ips { address: "\n\002\000\000" length: 16 })", alice, false},
      // Ports.
      {"destination_ports: 8080", alice, true},
      {"destination_ports: 80 destination_ports: 8080", alice, true},
      {"destination_ports: 80", alice, false},
      {"not_destination_ports: 80", alice, true},
      {"not_destination_ports: 8080", alice, false},
      {"destination_ports: 0", alice, false},
      // Fields are ANDed.
      {"principals { presence {} } destination_ports: 8080", alice, true},
      {"principals { presence {} } destination_ports: 80", alice, false},
      // An empty match contributes false.
      {"", alice, false},
      {"", nobody, false},
  };
  for (const Row& row : rows) EXPECT_EQ(fires(row.match, row.with), row.fires) << row.match;
}

TEST(Authorize, Structure) {
  const Connection alice = connection(kAlice);
  const auto allowed = [&](const std::string& text) {
    return authorize({policy("action: ALLOW " + text)}, alice).allowed;
  };
  const std::string yes = "matches { destination_ports: 8080 } ";
  const std::string no = "matches { destination_ports: 1 } ";
  EXPECT_FALSE(allowed("")) << "no rules never match";
  EXPECT_TRUE(allowed("rules {}")) << "no clauses always match";
  EXPECT_TRUE(allowed("rules { clauses {} }")) << "a clause of no matches holds";
  EXPECT_FALSE(allowed("rules { clauses { matches {} } }")) << "an empty match is false";
  EXPECT_TRUE(allowed("rules { clauses { matches {} " + yes + "} }"));
  EXPECT_FALSE(allowed("rules { clauses { " + yes + "} clauses { matches {} } }"));
  EXPECT_TRUE(allowed("rules { clauses { " + no + yes + "} }")) << "matches are ORed";
  EXPECT_FALSE(allowed("rules { clauses { " + yes + "} clauses { " + no + "} }"))
      << "clauses are ANDed";
  EXPECT_TRUE(allowed("rules { clauses { " + no + "} } rules { clauses { " + yes + "} }"))
      << "rules are ORed";
}

TEST(Authorize, OrderOfDecisions) {
  const Connection alice = connection(kAlice);
  const auto allow = *compile(parse("name: 'a' namespace: 'n' action: ALLOW rules {}"));
  const auto allow_nothing = *compile(parse("name: 'z' namespace: 'n' action: ALLOW"));
  const auto deny = *compile(parse("name: 'd' namespace: 'n' action: DENY rules {}"));
  const auto deny_nothing = *compile(parse("name: 'e' namespace: 'n' action: DENY"));
  const auto dry_deny =
      *compile(parse("name: 'x' namespace: 'n' action: DENY rules {} dry_run: true"));
  const auto dry_allow = *compile(parse("name: 'y' namespace: 'n' action: ALLOW dry_run: true"));

  EXPECT_TRUE(authorize(PolicyList{}, alice).allowed);
  EXPECT_TRUE(authorize({deny_nothing}, alice).allowed);
  EXPECT_TRUE(authorize({dry_deny, dry_allow}, alice).allowed) << "dry run never decides";
  EXPECT_EQ(authorize({allow}, alice).policy, "n/a");

  const Verdict denied = authorize({allow, deny}, alice);
  EXPECT_FALSE(denied.allowed);
  EXPECT_EQ(denied.policy, "n/d");
  EXPECT_EQ(denied.reason, "explicitly denied by: n/d");

  const Verdict none = authorize({allow_nothing, dry_deny}, alice);
  EXPECT_FALSE(none.allowed);
  EXPECT_EQ(none.policy, "");
  EXPECT_EQ(none.reason, "allow policies exist, but none allowed");
  EXPECT_TRUE(authorize({allow_nothing, allow}, alice).allowed);
}

TEST(Authorize, StrictModeAsIstioTranslatesIt) {
  const auto strict =
      policy("action: DENY rules { clauses { matches { not_principals { presence {} } } } }");
  EXPECT_FALSE(authorize({strict}, connection("")).allowed);
  EXPECT_TRUE(authorize({strict}, connection(kAlice)).allowed);
}

// What only a newer control plane knows decides against the caller.
TEST(Authorize, UnknownConditionsFailClosed) {
  const Connection alice = connection(kAlice);
  const auto check = [&](const pb::Authorization& resource) {
    const auto compiled = compile(resource);
    ASSERT_TRUE(compiled) << compiled.error().to_string();
    EXPECT_THAT(caveat_of(**compiled), HasSubstr("unknown to this version"));
    EXPECT_FALSE(authorize({*compiled}, alice).allowed) << resource.ShortDebugString();
    EXPECT_FALSE(authorize({*compiled}, connection("")).allowed);
  };
  for (const char* action : {"ALLOW", "DENY"}) {
    const std::string head = std::string("name: 'p' namespace: 'ns' action: ") + action;
    check(parse(head + " rules { clauses { matches { principals {} } } }"));
    check(parse(head + " rules { clauses { matches { not_principals {} } } }"));
    check(parse(head + " rules {} rules { clauses { matches { namespaces {} } } }"));
    check(parse(head + " rules { clauses { matches { extensions { name: 'x' } } } }"));
    pb::Authorization newer =
        parse(head + " rules { clauses { matches { destination_ports: 8080 } } }");
    pb::Match* match = newer.mutable_rules(0)->mutable_clauses(0)->mutable_matches(0);
    match->GetReflection()->MutableUnknownFields(match)->AddVarint(99, 1);
    check(newer);
  }
}

TEST(Authorize, FieldsUnknownAtTheTopAreIgnored) {
  pb::Authorization newer = parse("name: 'p' namespace: 'ns' action: ALLOW rules {}");
  newer.GetReflection()->MutableUnknownFields(&newer)->AddVarint(99, 1);
  EXPECT_TRUE(authorize({*compile(newer)}, connection(kAlice)).allowed);
}

TEST(Compile, NamesWhatIsWrong) {
  const auto error = [](const std::string& text) {
    const auto compiled = compile(parse(text));
    EXPECT_FALSE(compiled) << text;
    if (compiled) return std::string();
    EXPECT_EQ(compiled.error().code, Code::kInvalid);
    return compiled.error().to_string();
  };
  const auto match = [](const std::string& text) {
    return "name: 'p' namespace: 'ns' rules { clauses { matches {} } clauses { matches { " + text +
           " } } }";
  };
  const std::string where = "Authorization ns/p: rules[0].clauses[1].matches[0].";
  EXPECT_THAT(error(match("source_ips { address: 'abcd' length: 40 }")),
              HasSubstr(where + "source_ips[0]: a prefix of 97.98.99.100 has at most 32 bits"));
  EXPECT_THAT(error(match("not_destination_ips { address: 'abc' length: 8 }")),
              HasSubstr(where + "not_destination_ips[0]: an IP address has 4 or 16 bytes"));
  EXPECT_THAT(error(match("source_ips { address: '0123456789abcdef' length: 129 }")),
              HasSubstr("at most 128 bits"));
  EXPECT_THAT(error(match("source_ips { address: '\\000\\000\\000\\000\\000\\000\\000\\000\\000"
                          "\\000\\377\\377abcd' length: 95 }")),
              HasSubstr("at least 96 bits"));
  EXPECT_THAT(error(match("destination_ports: 65536")),
              HasSubstr(where + "destination_ports[0]: expected a port up to 65535, got 65536"));
  EXPECT_THAT(error(match("not_destination_ports: 70000")), HasSubstr("not_destination_ports[0]"));
  EXPECT_THAT(error("namespace: 'ns'"), HasSubstr("name: expected a name"));
  EXPECT_THAT(error("name: 'p' scope: NAMESPACE"), HasSubstr("namespace: expected a namespace"));
  pb::Authorization unknown = parse("name: 'p' namespace: 'ns'");
  unknown.set_action(static_cast<pb::Action>(7));
  EXPECT_THAT(compile(unknown).error().to_string(), HasSubstr("action: expected ALLOW or DENY"));
  unknown.set_action(pb::DENY);
  unknown.set_scope(static_cast<pb::Scope>(9));
  EXPECT_THAT(compile(unknown).error().to_string(), HasSubstr("scope: expected GLOBAL"));
}

TEST(Compile, KeepsWhatOthersAskFor) {
  const auto compiled = *compile(parse("name: 'p' namespace: 'ns' scope: WORKLOAD_SELECTOR"));
  EXPECT_EQ(key_of(*compiled), "ns/p");
  EXPECT_EQ(namespace_of(*compiled), "ns");
  EXPECT_EQ(scope_of(*compiled), pb::WORKLOAD_SELECTOR);
  EXPECT_EQ(caveat_of(*compiled), "");
}

}  // namespace
}  // namespace weft::policy
