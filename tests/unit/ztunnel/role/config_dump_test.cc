// The shape of /config_dump, as a consumer of Istio's reads it, and the admin port's other paths.

#include "ztunnel/role/config_dump.h"

#include "tests/support/run_task.h"
#include "tests/support/test_authority.h"
#include "tests/unit/ztunnel/learn/builders.h"
#include "ztunnel/role/admin.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

namespace weft::role {
namespace {

using google::protobuf::Value;
using learn::testing::add_pod;
using learn::testing::add_policy;
using learn::testing::add_service;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

Value parse(const std::string& json) {
  Value value;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &value).ok()) << json;
  return value;
}

const Value& at(const Value& object, const std::string& name) {
  static const Value kNothing;
  const auto found = object.struct_value().fields().find(name);
  return found == object.struct_value().fields().end() ? kNothing : found->second;
}

const Value& at(const Value& list, int index) {
  static const Value kNothing;
  return index < list.list_value().values_size() ? list.list_value().values(index) : kNothing;
}

std::vector<std::string> keys(const Value& object) {
  std::vector<std::string> result;
  for (const auto& [name, value] : object.struct_value().fields()) result.push_back(name);
  return result;
}

std::string text(const Value& object, const std::string& name) {
  return at(object, name).string_value();
}

ConfigDump mesh() {
  learn::StateBuilder builder("Kubernetes");
  auto addresses = learn::testing::addresses();
  const std::string in_web =
      "services { key: 'shop/web.shop.svc.cluster.local' value { ports { "
      "service_port: 80 target_port: 8080 } } } ";
  add_pod(addresses, "b", 2, in_web + "status: UNHEALTHY network_mode: HOST_NETWORK");
  add_pod(addresses, "a", 1,
          in_web +
              "authorization_policies: 'shop/p' workload_name: 'a-deploy' "
              "workload_type: DEPLOYMENT canonical_name: 'a' canonical_revision: 'v1'");
  add_service(addresses, "web", 9, "ports { service_port: 80 target_port: 8080 }");
  auto policies = learn::testing::authorizations();
  add_policy(policies, "p",
             "scope: WORKLOAD_SELECTOR action: DENY dry_run: true rules { clauses { matches { "
             "principals { exact: 'td/ns/a/sa/b' } principals { prefix: 'td/' } "
             "principals { suffix: '/sa/x' } not_principals { presence {} } "
             "service_accounts { namespace: 'n' serviceAccount: 's' } "
             "source_ips { address: '\\012\\000\\000\\000' length: 8 } "
             "destination_ports: 80 not_destination_ports: 443 } } }");
  EXPECT_TRUE(builder.apply(policies).empty());
  EXPECT_TRUE(builder.apply(addresses).empty());
  ConfigDump dump;
  dump.state = builder.publish();
  return dump;
}

TEST(ConfigDump, HasTheKeysThatReadersOfIstiosLookFor) {
  EXPECT_THAT(
      keys(parse(to_json(mesh()))),
      UnorderedElementsAre("workloads", "services", "policies", "certificates", "workloadState",
                           "stagedServices", "staticConfig", "version", "config"));
}

TEST(ConfigDump, Workloads) {
  const Value dump = parse(to_json(mesh()));
  const Value& workloads = at(dump, "workloads");
  ASSERT_EQ(workloads.list_value().values_size(), 2);
  const Value& a = at(workloads, 0);
  EXPECT_EQ(text(a, "uid"), "Kubernetes//Pod/shop/a");
  EXPECT_EQ(text(a, "name"), "a");
  EXPECT_EQ(text(a, "namespace"), "shop");
  EXPECT_EQ(text(a, "node"), "node-a");
  EXPECT_EQ(text(a, "clusterId"), "Kubernetes");
  EXPECT_EQ(text(a, "trustDomain"), "cluster.local");
  EXPECT_EQ(text(a, "serviceAccount"), "sa-a");
  EXPECT_EQ(text(a, "workloadName"), "a-deploy");
  EXPECT_EQ(text(a, "workloadType"), "deployment");
  EXPECT_EQ(text(a, "canonicalName"), "a");
  EXPECT_EQ(text(a, "canonicalRevision"), "v1");
  EXPECT_EQ(text(a, "protocol"), "HBONE");
  EXPECT_EQ(text(a, "status"), "Healthy");
  EXPECT_EQ(text(a, "networkMode"), "Standard");
  EXPECT_EQ(at(a, "capacity").number_value(), 1);
  EXPECT_EQ(at(at(a, "workloadIps"), 0).string_value(), "10.0.0.1");
  EXPECT_EQ(at(at(a, "authorizationPolicies"), 0).string_value(), "shop/p");
  EXPECT_EQ(at(at(a, "services"), 0).string_value(), "shop/web.shop.svc.cluster.local");
  EXPECT_EQ(text(at(workloads, 1), "status"), "Unhealthy");
  EXPECT_EQ(text(at(workloads, 1), "networkMode"), "HostNetwork");
}

TEST(ConfigDump, Services) {
  const Value dump = parse(to_json(mesh()));
  const Value& web = at(at(dump, "services"), 0);
  EXPECT_EQ(text(web, "name"), "web");
  EXPECT_EQ(text(web, "hostname"), "web.shop.svc.cluster.local");
  EXPECT_EQ(at(at(web, "vips"), 0).string_value(), "/10.96.0.9");
  EXPECT_EQ(at(at(web, "ports"), "80").number_value(), 8080);
  const Value& endpoint = at(at(web, "endpoints"), "Kubernetes//Pod/shop/a");
  EXPECT_EQ(text(endpoint, "workloadUid"), "Kubernetes//Pod/shop/a");
  EXPECT_EQ(text(endpoint, "service"), "shop/web.shop.svc.cluster.local");
  EXPECT_EQ(text(endpoint, "status"), "Healthy");
  EXPECT_EQ(at(at(endpoint, "port"), "80").number_value(), 8080);
}

TEST(ConfigDump, Policies) {
  const Value dump = parse(to_json(mesh()));
  const Value& policy = at(at(dump, "policies"), 0);
  EXPECT_EQ(text(policy, "name"), "p");
  EXPECT_EQ(text(policy, "namespace"), "shop");
  EXPECT_EQ(text(policy, "scope"), "WorkloadSelector");
  EXPECT_EQ(text(policy, "action"), "Deny");
  EXPECT_TRUE(at(policy, "dryRun").bool_value());
  // rules (or), clauses (and), matches (or), fields (and).
  const Value& match = at(at(at(at(policy, "rules"), 0), 0), 0);
  EXPECT_EQ(text(at(at(match, "principals"), 0), "Exact"), "td/ns/a/sa/b");
  EXPECT_EQ(text(at(at(match, "principals"), 1), "Prefix"), "td/");
  EXPECT_EQ(text(at(at(match, "principals"), 2), "Suffix"), "/sa/x");
  EXPECT_THAT(keys(at(at(match, "notPrincipals"), 0)), ElementsAre("Presence"));
  EXPECT_EQ(text(at(at(match, "serviceAccounts"), 0), "serviceAccount"), "s");
  EXPECT_EQ(at(at(match, "sourceIps"), 0).string_value(), "10.0.0.0/8");
  EXPECT_EQ(at(at(match, "destinationPorts"), 0).number_value(), 80);
  EXPECT_EQ(at(at(match, "notDestinationPorts"), 0).number_value(), 443);
  EXPECT_THAT(keys(match),
              UnorderedElementsAre("principals", "notPrincipals", "serviceAccounts", "sourceIps",
                                   "destinationPorts", "notDestinationPorts"));
}

TEST(ConfigDump, CertificatesButNeverKeys) {
  const testing::TestAuthority authority("cluster.local");
  ConfigDump dump = mesh();
  dump.credentials = {
      authority.issue("spiffe://cluster.local/ns/shop/sa/a", {.by_intermediate = true})};
  for (const auto& [account, state] :
       {std::pair{"a", "available"}, {"b", "waiting"}, {"c", "failed: CA says no"}}) {
    dump.certificates.push_back({.identity = {"cluster.local", "shop", account},
                                 .serial = "",
                                 .not_after = {},
                                 .state = state});
  }
  const std::string json = to_json(dump);
  EXPECT_THAT(json, Not(HasSubstr("PRIVATE KEY")));
  EXPECT_EQ(json.find(dump.credentials[0]->key_der.bytes()), std::string::npos);
  const Value value = parse(json);
  const Value& a = at(at(value, "certificates"), 0);
  EXPECT_EQ(text(a, "identity"), "spiffe://cluster.local/ns/shop/sa/a");
  EXPECT_EQ(text(a, "state"), "Available");
  EXPECT_EQ(at(a, "certChain").list_value().values_size(), 2);
  const Value& leaf = at(at(a, "certChain"), 0);
  EXPECT_EQ(text(leaf, "serialNumber"), dump.credentials[0]->serial);
  EXPECT_EQ(text(leaf, "validFrom"), rfc3339(dump.credentials[0]->not_before));
  EXPECT_EQ(text(leaf, "expirationTime"), rfc3339(dump.credentials[0]->not_after));
  EXPECT_THAT(text(leaf, "pem"), HasSubstr("-----BEGIN CERTIFICATE-----"));
  EXPECT_EQ(at(a, "rootCerts").list_value().values_size(), 1);
  EXPECT_EQ(text(at(at(value, "certificates"), 1), "state"), "Initializing");
  EXPECT_EQ(text(at(at(value, "certificates"), 2), "state"), "Unavailable: CA says no");
}

TEST(ConfigDump, PodsOfTheNode) {
  ConfigDump dump = mesh();
  auto pod = std::make_shared<learn::Pod>();
  pod->uid = "uid-a";
  pod->name = "a";
  pod->ns = "shop";
  pod->service_account = "sa-a";
  dump.pods = {pod};
  const Value value = parse(to_json(dump));
  const Value& entry = at(at(value, "workloadState"), "uid-a");
  EXPECT_EQ(text(entry, "state"), "Up");
  EXPECT_EQ(text(at(entry, "info"), "name"), "a");
  EXPECT_EQ(text(at(entry, "info"), "namespace"), "shop");
  EXPECT_EQ(text(at(entry, "info"), "serviceAccount"), "sa-a");
  EXPECT_EQ(text(at(entry, "info"), "trustDomain"), "cluster.local");
  EXPECT_THAT(keys(entry), UnorderedElementsAre("state", "info", "connections"));
}

TEST(ConfigDump, OpenConnections) {
  ConfigDump dump = mesh();
  auto pod = std::make_shared<learn::Pod>();
  pod->uid = "uid \"a\"";
  dump.pods = {pod};
  const auto address = [](const char* text) { return *SocketAddress::parse(text); };
  PodConnections& open = dump.connections.pods[pod->uid];
  open.inbound.push_back({address("10.0.0.2:5"), "", "10.0.0.1:80", true});
  open.outbound.push_back({address("10.0.0.1:6"), "10.96.0.1:80", "10.0.0.3:8080", false});
  const Value value = parse(to_json(dump));
  const Value& listed = at(at(at(value, "workloadState"), pod->uid), "connections");
  const Value& inbound = at(at(listed, "inbound"), 0);
  EXPECT_EQ(text(inbound, "src"), "10.0.0.2:5");
  EXPECT_EQ(text(inbound, "actualDst"), "10.0.0.1:80");
  EXPECT_EQ(text(inbound, "protocol"), "HBONE");
  const Value& outbound = at(at(listed, "outbound"), 0);
  EXPECT_EQ(text(outbound, "originalDst"), "10.96.0.1:80");
  EXPECT_EQ(text(outbound, "actualDst"), "10.0.0.3:8080");
  EXPECT_EQ(text(outbound, "protocol"), "TCP");
  EXPECT_THAT(keys(value), Not(::testing::Contains("connectionsCaveat")));
  // A list that is not whole says so.
  dump.connections.omitted = 7;
  const Value cut = parse(to_json(dump));
  EXPECT_EQ(at(at(cut, "connectionsCaveat"), "omitted").number_value(), 7);
}

TEST(ConfigDump, OfNothing) {
  ConfigDump dump;
  dump.state = learn::StateBuilder("Kubernetes").publish();
  EXPECT_EQ(to_json(dump),
            "{\"workloads\":[],\n\"services\":[],\n\"policies\":[],\n\"certificates\":[],\n"
            "\"workloadState\":{},\n\"stagedServices\":{},\n"
            "\"staticConfig\":{\"workloads\":[],\"services\":[],\"policies\":[]},\n"
            "\"version\":{\"version\":\"" WEFT_VERSION "\"},\n\"config\":{}}\n");
}

// The admin port.

class FakeLearner final : public learn::Learner {
 public:
  std::unique_ptr<learn::View> make_view(runtime::Loop&) override { return nullptr; }
  runtime::Task<void> run() override { co_return; }
  void stop() override {}
  void drain() override {}
  learn::LearnerStatus status() const override { return {}; }
  std::shared_ptr<const learn::State> state() const override { return mesh().state; }
  std::vector<std::shared_ptr<const learn::Pod>> pods() const override { return {}; }
  std::vector<std::shared_ptr<const tls::Credentials>> credentials() const override { return {}; }
};

class AdminTest : public ::testing::Test {
 protected:
  ~AdminTest() override { log::set_level(log::Level::kInfo); }
  http::Response ask(const std::string& method, const std::string& path,
                     const std::string& query = "") {
    return testing::run(
        *loop_, admin_.answer({.method = method, .path = path, .query = query, .body = ""}));
  }

  static runtime::Task<Connections> no_connections() { co_return Connections{}; }

  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create(runtime::Backend::kEpoll);
  FakeLearner learner_;
  int quits_ = 0;
  Admin admin_{*loop_,
               {.learner = learner_,
                .quit = [this] { ++quits_; },
                .connections = [] { return no_connections(); },
                .config = {{"node", "node-1"}}}};
};

TEST_F(AdminTest, ServesTheDump) {
  const http::Response response = ask("GET", "/config_dump");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(at(parse(response.body), "workloads").list_value().values_size(), 2);
  EXPECT_EQ(text(at(parse(response.body), "config"), "node"), "node-1");
}

TEST_F(AdminTest, IndexNamesEveryPath) {
  const http::Response response = ask("GET", "/");
  EXPECT_EQ(response.status, 200);
  for (const char* path : {"/status", "/config_dump", "/logging", "/quitquitquit"}) {
    EXPECT_THAT(response.body, HasSubstr(path));
  }
}

TEST_F(AdminTest, SetsAndResetsTheLogLevel) {
  EXPECT_EQ(ask("POST", "/logging").body, "current log level is info\n");
  EXPECT_EQ(ask("POST", "/logging", "level=debug").body, "current log level is debug\n");
  EXPECT_TRUE(log::enabled(log::Level::kDebug));
  EXPECT_EQ(ask("POST", "/logging", "level=error").body, "current log level is error\n");
  EXPECT_FALSE(log::enabled(log::Level::kWarn));
  EXPECT_EQ(ask("POST", "/logging", "reset").body, "current log level is info\n");
}

TEST_F(AdminTest, AWrongLevelChangesNothing) {
  for (const char* query : {"level=", "level=loud", "level=debug&x=1", "debug", "level"}) {
    EXPECT_EQ(ask("POST", "/logging", query).status, 400) << query;
  }
  EXPECT_EQ(ask("POST", "/logging").body, "current log level is info\n");
}

TEST_F(AdminTest, QuitsOnlyWhenPosted) {
  EXPECT_EQ(ask("GET", "/quitquitquit").status, 405);
  EXPECT_EQ(quits_, 0);
  EXPECT_EQ(ask("POST", "/quitquitquit").status, 200);
  EXPECT_EQ(quits_, 1);
}

TEST_F(AdminTest, AProfileHasBounds) {
  for (const char* query : {"seconds=0", "seconds=301", "frequency=1001", "seconds=", "seconds",
                            "x=1", "seconds=1&frequency=-1", "seconds=1 "}) {
    EXPECT_EQ(ask("GET", "/debug/pprof/profile", query).status, 400) << query;
  }
  EXPECT_EQ(ask("POST", "/debug/pprof/profile").status, 405);
}

TEST_F(AdminTest, ServesAProfile) {
  const http::Response response = ask("GET", "/debug/pprof/profile", "seconds=1&frequency=1000");
  if (response.status == 501) GTEST_SKIP() << response.body;
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/octet-stream");
  EXPECT_FALSE(response.body.empty());
}

TEST_F(AdminTest, RefusesOtherPathsAndMethods) {
  EXPECT_EQ(ask("GET", "/config_dump/").status, 404);
  EXPECT_EQ(ask("GET", "").status, 404);
  EXPECT_EQ(ask("DELETE", "/config_dump").status, 405);
  EXPECT_EQ(ask("GET", "/logging", "level=debug").status, 405);
  EXPECT_FALSE(log::enabled(log::Level::kDebug));
}

}  // namespace
}  // namespace weft::role
