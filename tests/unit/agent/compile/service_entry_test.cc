#include "agent/compile/vip_allocation.h"
#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

#include <set>

namespace weft::compile {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::string object(const std::string& kind, const std::string& ns, const std::string& meta,
                   const std::string& spec) {
  return "---\napiVersion: networking.istio.io/v1\nkind: " + kind +
         "\nmetadata: {namespace: " + ns + ", " + meta + "}\nspec: {" + spec + "}\n";
}

std::string entry(const std::string& name, const std::string& spec, const std::string& meta = "") {
  return object("ServiceEntry", "shop", "name: " + name + ", " + meta, spec);
}

constexpr const char* kPorts = "ports: [{number: 443, name: tls, protocol: TLS}], ";

struct Compiled {
  explicit Compiled(const std::string& text) : compiler(MeshConfig{}) {
    compiler.apply(changes_of(text));
  }
  std::string body(const std::string& name) const { return body_of(compiler, name); }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Resource& resource : compiler.all()) all.push_back(resource.name);
    return all;
  }
  Compiler compiler;
};

const std::string kEndpoint = "Kubernetes/networking.istio.io/ServiceEntry/shop/ext/";

TEST(ServiceEntry, StaticHasItsEndpoints) {
  const Compiled made(entry(
      "ext",
      std::string(kPorts) +
          "hosts: [API.example.org., other.example.org], addresses: [10.9.0.1], resolution: "
          "STATIC, "
          "subjectAltNames: [\"spiffe://td/ns/x/sa/y\"], "
          "endpoints: [{address: 10.2.0.1, ports: {tls: 8443}, labels: {app: api, version: v2}, "
          "locality: eu/west/r1, weight: 3, serviceAccount: robot}, {address: \"fd00::1\"}, "
          "{address: \"unix:///s\"}, {network: far}]"));
  EXPECT_THAT(made.names(), ElementsAre("shop/api.example.org", "shop/other.example.org",
                                        kEndpoint + "10.2.0.1", kEndpoint + "fd00::1"));
  EXPECT_EQ(made.body("shop/api.example.org"),
            R"({"service":{"name":"ext","namespace":"shop","hostname":"api.example.org",)"
            R"("addresses":[{"address":"CgkAAQ=="}],)"
            R"("ports":[{"servicePort":443,"targetPort":443,"name":"tls"}],)"
            R"("subjectAltNames":["spiffe://td/ns/x/sa/y"]}})");
  EXPECT_EQ(
      made.body(kEndpoint + "10.2.0.1"),
      R"({"workload":{"name":"ext","namespace":"shop","addresses":["CgIAAQ=="],)"
      R"("serviceAccount":"robot","canonicalName":"api","canonicalRevision":"v2",)"
      R"("workloadType":"POD","workloadName":"ext","clusterId":"Kubernetes",)"
      R"("uid":"Kubernetes/networking.istio.io/ServiceEntry/shop/ext/10.2.0.1",)"
      R"("services":{"shop/api.example.org":{"ports":[{"servicePort":443,"targetPort":8443}]},)"
      R"("shop/other.example.org":{"ports":[{"servicePort":443,"targetPort":8443}]}},)"
      R"("locality":{"region":"eu","zone":"west","subzone":"r1"},"capacity":3}})");
  EXPECT_THAT(warnings(made.compiler),
              ElementsAre(HasSubstr("unix:///s: a unix socket"), HasSubstr("network \"far\"")));
}

TEST(ServiceEntry, DnsIsLookedUp) {
  const Compiled made(
      entry("ext", std::string(kPorts) + "hosts: [a.example.org, b.example.org], resolution: DNS"));
  EXPECT_THAT(made.names(), ElementsAre("shop/a.example.org", "shop/b.example.org",
                                        kEndpoint + "a.example.org", kEndpoint + "b.example.org"));
  EXPECT_THAT(made.body(kEndpoint + "a.example.org"),
              AllOf(HasSubstr(R"("hostname":"a.example.org")"),
                    HasSubstr(R"("services":{"shop/a.example.org":{"ports")"),
                    Not(HasSubstr("shop/b.example.org"))));
  // Endpoints that are names stand for every host.
  const Compiled listed(entry(
      "ext", std::string(kPorts) + "hosts: [a.example.org, b.example.org], resolution: "
                                   "DNS_ROUND_ROBIN, endpoints: [{address: real.example.org}]"));
  EXPECT_THAT(listed.body(kEndpoint + "real.example.org"),
              AllOf(HasSubstr("shop/a.example.org"), HasSubstr("shop/b.example.org")));
}

TEST(ServiceEntry, NonePassesThrough) {
  const Compiled made(
      entry("ext", std::string(kPorts) + "hosts: [\"*.example.org\"], addresses: [10.9.0.0/16]"));
  EXPECT_THAT(made.names(), ElementsAre("shop/*.example.org"));
  EXPECT_THAT(made.body("shop/*.example.org"),
              AllOf(HasSubstr(R"("addresses":[{"address":"CgkAAA==","length":16}])"),
                    HasSubstr(R"("loadBalancing":{"mode":"PASSTHROUGH"})")));
  EXPECT_THAT(warnings(made.compiler), IsEmpty());
  const Compiled lost(entry("ext", std::string(kPorts) + "hosts: [a.example.org]"));
  EXPECT_THAT(warnings(lost.compiler), ElementsAre(HasSubstr("not recognised by its address")));
}

TEST(ServiceEntry, SelectsPodsAndWorkloadEntries) {
  const Compiled made(
      entry("ext",
            "hosts: [db.example.org], resolution: STATIC, workloadSelector: {labels: {app: "
            "db}}, ports: [{number: 5432, name: pg, targetPort: 15432}]") +
      pod("shop", "db-0", "app: db", "10.0.0.1") + pod("bank", "db-1", "app: db", "10.0.0.2") +
      object("WorkloadEntry", "shop", "name: vm",
             "address: 10.3.0.1, labels: {app: db}, ports: {pg: 25432}") +
      object("WorkloadEntry", "shop", "name: other", "address: 10.3.0.2, labels: {app: x}"));
  EXPECT_THAT(made.body("Kubernetes//Pod/shop/db-0"),
              HasSubstr(R"("shop/db.example.org":{"ports":[{"servicePort":5432,)"
                        R"("targetPort":15432}]})"));
  EXPECT_THAT(made.body("Kubernetes//Pod/bank/db-1"), Not(HasSubstr("db.example.org")));
  EXPECT_THAT(made.body("Kubernetes/networking.istio.io/WorkloadEntry/shop/vm"),
              HasSubstr(R"("targetPort":25432)"));
  EXPECT_THAT(made.body("Kubernetes/networking.istio.io/WorkloadEntry/shop/other"),
              Not(HasSubstr("services")));
}

TEST(ServiceEntry, ExportToDecidesWhoSeesIt) {
  const auto visibility = [](const std::string& list) {
    return Compiled(entry("ext", std::string(kPorts) +
                                     "hosts: [a.example.org], resolution: DNS, exportTo: [" + list +
                                     "]"))
        .body("shop/a.example.org");
  };
  EXPECT_THAT(visibility(""), Not(HasSubstr("visibility")));
  EXPECT_THAT(visibility("\"*\""), Not(HasSubstr("visibility")));
  EXPECT_THAT(visibility("\".\""), HasSubstr(R"("visibility":"NAMESPACE")"));
  EXPECT_THAT(visibility("shop"), HasSubstr(R"("visibility":"NAMESPACE")"));
  EXPECT_THAT(visibility("\".\", bank"), Not(HasSubstr("visibility")));
  EXPECT_THAT(visibility("\"~\""), IsEmpty());
}

// One name, one service: Kubernetes' own, or else the oldest ServiceEntry.
TEST(ServiceEntry, AHostBelongsToOne) {
  const std::string spec =
      std::string(kPorts) + "hosts: [web.shop.svc.cluster.local], resolution: STATIC, endpoints: ";
  const std::string young = entry("a-young", spec + "[{address: 10.2.0.1}]",
                                  "creationTimestamp: \"2026-01-02T00:00:00Z\"");
  const std::string old =
      entry("z-old", spec + "[{address: 10.2.0.2}]", "creationTimestamp: \"2026-01-01T00:00:00Z\"");
  Compiled made(young + old);
  EXPECT_THAT(made.names(), ElementsAre("shop/web.shop.svc.cluster.local", HasSubstr("z-old")));
  made.compiler.apply(
      changes_of("apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: "
                 "web}\nspec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}\n"));
  EXPECT_THAT(made.names(), ElementsAre("shop/web.shop.svc.cluster.local"));
  EXPECT_THAT(made.body("shop/web.shop.svc.cluster.local"), HasSubstr("\"canonical\":true"));
  made.compiler.apply(
      {removal("Service", "shop", "web"), removal("ServiceEntry", "shop", "z-old")});
  EXPECT_THAT(made.names(), ElementsAre("shop/web.shop.svc.cluster.local", HasSubstr("a-young")));
}

TEST(ServiceEntry, AddressesAreAllocatedWhereNoneIsGiven) {
  const auto addresses = [](const std::string& more, const std::string& meta = "",
                            const std::string& status = "") {
    const std::string body =
        Compiled(entry("ext", std::string(kPorts) + "hosts: [a.example.org], " + more, meta) +
                 status)
            .body("shop/a.example.org");
    const size_t at = body.find("\"addresses\":");
    return at == std::string::npos ? "" : body.substr(at, body.find(']', at) - at);
  };
  const std::string allocated = addresses("resolution: DNS");
  // 240.240.x.y and 2001:2::
  EXPECT_THAT(allocated,
              testing::ContainsRegex(
                  R"("addresses":\[\{"address":"8P.*"\},\{"address":"IAEAAgAAAAAAAAAAAA)"));
  EXPECT_EQ(addresses("resolution: STATIC"), allocated) << "the same for the same name";
  EXPECT_EQ(addresses("resolution: NONE"), "");
  EXPECT_EQ(addresses("resolution: DNS",
                      "labels: {networking.istio.io/enable-autoallocate-ip: \"false\"}"),
            "");
  EXPECT_THAT(addresses("resolution: DNS", "",
                        "status: {addresses: [{value: 240.240.0.7, host: a.example.org}]}\n"),
              HasSubstr("8PAABw=="));
  EXPECT_THAT(addresses("addresses: [0.0.0.0], resolution: DNS"), "");
}

TEST(VipAllocation, OlderHostsKeepTheirs) {
  VipAllocation allocation;
  VipAllocation::Claims claims;
  std::map<std::string, std::vector<Cidr>> before;
  for (int i = 0; i < 3000; ++i) {
    char order[8];
    std::snprintf(order, sizeof order, "%05d", i);
    claims["ns/host-" + std::to_string(i)] = order;
    if (i % 1000 != 999) continue;
    const auto changed = allocation.update(claims);
    EXPECT_EQ(changed.size(), 1000U) << "newcomers only";
    for (const auto& [key, addresses] : before) EXPECT_EQ(allocation.of(key), addresses) << key;
    for (const auto& [key, claim] : claims) before[key] = allocation.of(key);
  }
  std::set<std::string> distinct;
  for (const auto& [key, addresses] : before) {
    ASSERT_EQ(addresses.size(), 2U);
    EXPECT_TRUE(Cidr::parse("240.240.0.0/16")->contains(addresses[0].address()));
    EXPECT_TRUE(Cidr::parse("2001:2::/48")->contains(addresses[1].address()));
    distinct.insert(addresses[0].to_string());
    distinct.insert(addresses[1].to_string());
  }
  EXPECT_EQ(distinct.size(), 6000U);
  VipAllocation again;
  again.update(claims);
  for (const auto& [key, addresses] : before) EXPECT_EQ(again.of(key), addresses);
}

TEST(VipAllocation, IsBounded) {
  VipAllocation allocation;
  VipAllocation::Claims claims;
  for (uint32_t i = 0; i < VipAllocation::kPlacesMax + 5; ++i) {
    claims["ns/" + std::to_string(i)] = "";
  }
  EXPECT_EQ(allocation.update(claims).size(), VipAllocation::kPlacesMax);
}

TEST(WorkloadEntry, IsAWorkload) {
  const std::string name = "Kubernetes/networking.istio.io/WorkloadEntry/shop/vm";
  const Compiled made(
      object("WorkloadEntry", "shop", "name: vm, labels: {app: web}",
             "address: vm.example.org, network: far, labels: {version: v3, "
             "networking.istio.io/tunnel: http}, serviceAccount: robot, ports: {web: 81}") +
      "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: web}\nspec: "
      "{selector: "
      "{app: web}, ports: [{name: http, port: 80, targetPort: web}]}\n" +
      policy("shop", "p", "{selector: {matchLabels: {app: web}}}"));
  const std::string body = made.body(name);
  for (const char* part :
       {R"("hostname":"vm.example.org")", R"("network":"far")", R"("tunnelProtocol":"HBONE")",
        R"("serviceAccount":"robot")", R"({"servicePort":80,"targetPort":81})",
        R"("authorizationPolicies":["shop/p"])", R"("canonicalRevision":"v3")"}) {
    EXPECT_THAT(body, HasSubstr(part));
  }
  const auto health = [&](const std::string& status) {
    return Compiled(object("WorkloadEntry", "shop", "name: vm", "address: 10.0.0.1") + status)
        .body(name);
  };
  EXPECT_THAT(health(""), Not(HasSubstr("UNHEALTHY")));
  EXPECT_THAT(health("status: {conditions: [{type: Healthy, status: \"False\"}]}\n"),
              HasSubstr("UNHEALTHY"));
}

}  // namespace
}  // namespace weft::compile
