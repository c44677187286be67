#include "ztunnel/node/dns_answer.h"

#include "ztunnel/learn/state_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace weft::node {
namespace {

using dns::Name;
using learn::Service;
using learn::Workload;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Texts = std::vector<std::string>;

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }

std::string to_text(const dns::Record& record) {
  std::string text = record.name.to_text() + " ";
  if (const auto* address = std::get_if<IpAddress>(&record.data)) {
    return text + address->to_string();
  }
  if (const auto* alias = std::get_if<dns::Alias>(&record.data)) {
    return text + "CNAME " + alias->target.to_text();
  }
  const auto& location = std::get<dns::Location>(record.data);
  return text + "SRV " + std::to_string(location.port) + " " + location.target.to_text();
}

Texts to_texts(const std::vector<dns::Record>& records) {
  Texts texts;
  for (const dns::Record& record : records) texts.push_back(to_text(record));
  return texts;
}

class DnsAnswerTest : public ::testing::Test {
 protected:
  Service& add_service(const std::string& ns, const std::string& hostname,
                       const std::vector<std::string>& vips) {
    auto made = std::make_shared<Service>();
    made->name = hostname.substr(0, hostname.find('.'));
    made->ns = ns;
    made->hostname = hostname;
    made->ports = {{80, 8080}};
    for (const std::string& vip : vips) made->vips.push_back(ip(vip));
    services_.push_back(made);
    return *made;
  }
  Service& add_kubernetes_service(const std::string& name, const std::string& ns,
                                  const std::vector<std::string>& vips) {
    Service& made = add_service(ns, name + "." + ns + ".svc.cluster.local", vips);
    made.canonical = true;
    return made;
  }
  Workload& add_endpoint(Service& service, const std::string& name,
                         const std::vector<std::string>& addresses, uint16_t port = 8080) {
    auto made = std::make_shared<Workload>();
    made->uid = "Kubernetes//Pod/" + service.ns + "/" + name;
    made->name = name;
    made->ns = service.ns;
    for (const std::string& address : addresses) made->addresses.push_back(ip(address));
    made->services[service.ns + "/" + service.hostname] = {{80, port}};
    service.endpoints.push_back({made, {{80, port}}});
    workloads_.push_back(made);
    return *made;
  }
  // "db-0", "db-1" with names of their own; "db-2" without; "db-3" is not ready.
  Service& add_headless() {
    Service& db = add_kubernetes_service("db", "shop", {});
    db.port_names = {{80, "http"}};
    for (int i = 0; i < 4; ++i) {
      const std::string name = "db-" + std::to_string(i);
      Workload& pod = add_endpoint(db, name, {"10.0.0.1" + std::to_string(i)});
      if (i != 2) pod.pod_hostname = name;
      if (i != 2) pod.pod_subdomain = "db";
      pod.healthy = i != 3;
    }
    return db;
  }

  DnsDecision decide(const std::string& name, uint16_t type, const std::string& ns = "shop",
                     uint16_t klass = dns::kClassIn) {
    auto data = std::make_shared<learn::State::Data>();
    for (const auto& service : services_) data->names.add(service);
    for (const auto& workload : workloads_) {
      data->names.add(workload);
      for (const IpAddress& address : workload->addresses)
        data->workloads_by_ip[address] = workload;
    }
    dns::Query query;
    query.header.id = 7;
    query.question = dns::Question{*Name::parse(name), type, klass};
    return decide_dns(learn::State(data), "cluster.local", ns, query, random_);
  }
  // The records of an answer that is known.
  Texts answer(const std::string& name, uint16_t type = dns::type::kA,
               const std::string& ns = "shop") {
    const DnsDecision decision = decide(name, type, ns);
    const auto* answered = std::get_if<DnsAnswered>(&decision);
    if (answered == nullptr) return {"not answered"};
    EXPECT_TRUE(answered->message.header.authoritative);
    EXPECT_TRUE(answered->message.header.recursion_available);
    EXPECT_EQ(answered->message.header.rcode, dns::Rcode::kNoError);
    for (const dns::Record& record : answered->message.answers) EXPECT_EQ(record.ttl_s, 30U);
    return to_texts(answered->message.answers);
  }
  bool is_forwarded(const std::string& name, uint16_t type = dns::type::kA,
                    const std::string& ns = "shop") {
    return std::holds_alternative<DnsForwarded>(decide(name, type, ns));
  }

  std::vector<std::shared_ptr<Service>> services_;
  std::vector<std::shared_ptr<Workload>> workloads_;
  std::mt19937_64 random_{1};
};

TEST_F(DnsAnswerTest, NothingThereSaysForHowLong) {
  add_kubernetes_service("web", "shop", {"10.96.0.1"});
  const auto said = [this](const std::string& name, uint16_t type) {
    return std::get<DnsAnswered>(decide(name, type)).message.denial;
  };
  EXPECT_FALSE(said("web.shop.svc.cluster.local", dns::type::kA));
  const auto denial = said("web.shop.svc.cluster.local", dns::type::kAaaa);
  ASSERT_TRUE(denial);
  EXPECT_EQ(denial->zone.to_text(), "cluster.local");
  EXPECT_EQ(denial->ttl_s, kDnsTtlS);
}

TEST_F(DnsAnswerTest, AServicesAddressesByFamily) {
  add_kubernetes_service("web", "shop", {"10.96.0.1"});
  add_kubernetes_service("both", "shop", {"10.96.0.2", "fd00::2"});
  EXPECT_THAT(answer("web.shop.svc.cluster.local"),
              ElementsAre("web.shop.svc.cluster.local 10.96.0.1"));
  EXPECT_THAT(answer("web.shop.svc.cluster.local", dns::type::kAaaa), IsEmpty());
  EXPECT_THAT(answer("both.shop.svc.cluster.local", dns::type::kAaaa),
              ElementsAre("both.shop.svc.cluster.local fd00::2"));
  EXPECT_THAT(answer("both.shop.svc.cluster.local", dns::type::kAny), SizeIs(2));
  // The question's own case comes back: some resolvers check it against forgery.
  EXPECT_THAT(answer("WeB.sHop.svc.CLUSTER.local"),
              ElementsAre("WeB.sHop.svc.CLUSTER.local 10.96.0.1"));
}

TEST_F(DnsAnswerTest, WhatIsNotKnownIsForwarded) {
  add_kubernetes_service("web", "shop", {"10.96.0.1"});
  for (const char* name : {"example.com", "nothing.shop.svc.cluster.local", "a.web.shop", "local",
                           "x.web.shop.svc.cluster.local", "", "svc.cluster.local",
                           "shop.svc.cluster.local", ".cluster.local"}) {
    const auto parsed = Name::parse(name);
    if (parsed) EXPECT_TRUE(is_forwarded(name)) << name;
  }
  constexpr uint16_t kTypeMx = 15;
  EXPECT_TRUE(is_forwarded("web.shop.svc.cluster.local", kTypeMx));
  constexpr uint16_t kClassChaos = 3;
  EXPECT_TRUE(std::holds_alternative<DnsForwarded>(
      decide("web.shop.svc.cluster.local", dns::type::kA, "shop", kClassChaos)));
  dns::Query update;
  update.header.opcode = 5;
  EXPECT_TRUE(std::holds_alternative<DnsForwarded>(
      decide_dns(learn::State(std::make_shared<learn::State::Data>()), "cluster.local", "a", update,
                 random_)));
}

TEST_F(DnsAnswerTest, ALabelWithADotInItIsNoServicesName) {
  add_kubernetes_service("web", "shop", {"10.96.0.1"});
  Name odd;
  ASSERT_TRUE(odd.append("web.shop"));
  for (const char* label : {"svc", "cluster", "local"}) ASSERT_TRUE(odd.append(label));
  auto data = std::make_shared<learn::State::Data>();
  data->names.add(std::shared_ptr<const Service>(services_[0]));
  dns::Query query;
  query.question = dns::Question{odd, dns::type::kA, dns::kClassIn};
  EXPECT_TRUE(std::holds_alternative<DnsForwarded>(
      decide_dns(learn::State(data), "cluster.local", "shop", query, random_)));
}

TEST_F(DnsAnswerTest, AHeadlessServiceStandsForItsReadyEndpoints) {
  Service& db = add_headless();
  const std::string name = "db.shop.svc.cluster.local";
  EXPECT_THAT(answer(name),
              UnorderedElementsAre(name + " 10.0.0.10", name + " 10.0.0.11", name + " 10.0.0.12"));
  db.balancing.unready_too = true;
  EXPECT_THAT(answer(name), SizeIs(4));
  db.endpoints.clear();
  EXPECT_THAT(answer(name), IsEmpty());
  EXPECT_FALSE(is_forwarded(name));
}

TEST_F(DnsAnswerTest, TheOrderOfEndpointsChanges) {
  add_headless();
  std::vector<Texts> seen;
  for (int i = 0; i < 40; ++i) seen.push_back(answer("db.shop.svc.cluster.local"));
  std::ranges::sort(seen);
  const auto again = std::ranges::unique(seen);
  EXPECT_EQ(std::distance(seen.begin(), again.begin()), 6);  // all orders of three
}

TEST_F(DnsAnswerTest, ThePodsOfAHeadlessService) {
  add_headless();
  EXPECT_THAT(answer("db-1.db.shop.svc.cluster.local"),
              ElementsAre("db-1.db.shop.svc.cluster.local 10.0.0.11"));
  EXPECT_THAT(answer("db-1.db.shop.svc.cluster.local", dns::type::kAaaa), IsEmpty());
  EXPECT_THAT(answer("10-0-0-12.db.shop.svc.cluster.local"),
              ElementsAre("10-0-0-12.db.shop.svc.cluster.local 10.0.0.12"));
  EXPECT_THAT(answer("db-3.db.shop.svc.cluster.local"), IsEmpty());  // not ready
  EXPECT_TRUE(is_forwarded("db-2.db.shop.svc.cluster.local"));       // has no name
  EXPECT_TRUE(is_forwarded("db-9.db.shop.svc.cluster.local"));
  EXPECT_TRUE(is_forwarded("10-0-0-99.db.shop.svc.cluster.local"));
  // With a search domain behind it.
  EXPECT_THAT(answer("db-1.db.shop.svc.cluster.local.shop.svc.cluster.local"),
              ElementsAre("db-1.db.shop.svc.cluster.local.shop.svc.cluster.local CNAME "
                          "db-1.db.shop.svc.cluster.local",
                          "db-1.db.shop.svc.cluster.local 10.0.0.11"));
}

TEST_F(DnsAnswerTest, APodOfAnotherServiceIsNoneOfThisOne) {
  add_headless();
  Service& other = add_kubernetes_service("other", "shop", {});
  add_endpoint(other, "stranger", {"10.0.0.77"});
  EXPECT_TRUE(is_forwarded("10-0-0-77.db.shop.svc.cluster.local"));
  EXPECT_TRUE(is_forwarded("db-1.other.shop.svc.cluster.local"));
}

TEST_F(DnsAnswerTest, SrvOfAService) {
  Service& web = add_kubernetes_service("web", "shop", {"10.96.0.1", "fd00::1"});
  web.port_names = {{80, "http"}, {90, "admin"}};
  const std::string name = "_http._tcp.web.shop.svc.cluster.local";
  EXPECT_THAT(answer(name, dns::type::kSrv),
              ElementsAre(name + " SRV 80 web.shop.svc.cluster.local"));
  const auto decision = decide(name, dns::type::kSrv);
  EXPECT_THAT(
      to_texts(std::get<DnsAnswered>(decision).message.additional),
      ElementsAre("web.shop.svc.cluster.local 10.96.0.1", "web.shop.svc.cluster.local fd00::1"));
  for (const char* other : {"_grpc._tcp.web.shop.svc.cluster.local", "web.shop.svc.cluster.local",
                            "_http._udp.web.shop.svc.cluster.local", "_http", "_http._tcp",
                            "_http._tcp.nothing.shop.svc.cluster.local"}) {
    EXPECT_TRUE(is_forwarded(other, dns::type::kSrv)) << other;
  }
}

TEST_F(DnsAnswerTest, SrvOfAHeadlessServiceNamesItsEndpoints) {
  add_headless();
  const std::string name = "_http._tcp.db.shop.svc.cluster.local";
  EXPECT_THAT(answer(name, dns::type::kSrv),
              UnorderedElementsAre(name + " SRV 8080 db-0.db.shop.svc.cluster.local",
                                   name + " SRV 8080 db-1.db.shop.svc.cluster.local",
                                   name + " SRV 8080 10-0-0-12.db.shop.svc.cluster.local"));
}

TEST_F(DnsAnswerTest, SearchDomainsOfTheClient) {
  add_service("shop", "api.example.com", {"240.240.0.1"});
  add_kubernetes_service("users", "bank", {"10.96.0.9"});
  for (const char* suffix : {".shop.svc.cluster.local", ".svc.cluster.local", ".cluster.local"}) {
    const std::string name = std::string("api.example.com") + suffix;
    EXPECT_THAT(answer(name),
                ElementsAre(name + " CNAME api.example.com", "api.example.com 240.240.0.1"));
  }
  EXPECT_THAT(answer("users.bank.shop.svc.cluster.local"),
              ElementsAre("users.bank.shop.svc.cluster.local CNAME users.bank.svc.cluster.local",
                          "users.bank.svc.cluster.local 10.96.0.9"));
  EXPECT_THAT(answer("users.bank.svc"),
              ElementsAre("users.bank.svc CNAME users.bank.svc.cluster.local",
                          "users.bank.svc.cluster.local 10.96.0.9"));
  // Another namespace's search domain is none of this client's; two labels may be a real domain.
  EXPECT_TRUE(is_forwarded("api.example.com.bank.svc.cluster.local"));
  EXPECT_TRUE(is_forwarded("users.bank"));
}

TEST_F(DnsAnswerTest, WildcardsCoverWhatIsBelowThem) {
  add_service("shop", "*.example.com", {"240.240.0.1"});
  add_service("shop", "*.b.example.com", {"240.240.0.2"});
  add_service("shop", "exact.b.example.com", {"240.240.0.3"});
  EXPECT_THAT(answer("a.example.com"), ElementsAre("a.example.com 240.240.0.1"));
  EXPECT_THAT(answer("x.y.example.com"), ElementsAre("x.y.example.com 240.240.0.1"));
  EXPECT_THAT(answer("a.b.example.com"), ElementsAre("a.b.example.com 240.240.0.2"));
  EXPECT_THAT(answer("exact.b.example.com"), ElementsAre("exact.b.example.com 240.240.0.3"));
  EXPECT_THAT(answer("a.example.com.shop.svc.cluster.local"),
              ElementsAre("a.example.com.shop.svc.cluster.local CNAME a.example.com",
                          "a.example.com 240.240.0.1"));
  EXPECT_TRUE(is_forwarded("example.com"));
  EXPECT_TRUE(is_forwarded("aexample.com"));
}

TEST_F(DnsAnswerTest, OfSeveralTheClientsOwnThenTheCanonicalOne) {
  add_service("a", "api.example.com", {"240.240.0.1"});
  add_service("shop", "api.example.com", {"240.240.0.2"});
  add_service("z", "api.example.com", {"240.240.0.3"}).canonical = true;
  EXPECT_THAT(answer("api.example.com"), ElementsAre("api.example.com 240.240.0.2"));
  EXPECT_THAT(answer("api.example.com", dns::type::kA, "bank"),
              ElementsAre("api.example.com 240.240.0.3"));
}

TEST_F(DnsAnswerTest, WhatIsHiddenIsForwardedForOthers) {
  add_service("shop", "secret.example.com", {"240.240.0.1"}).only_own_namespace = true;
  EXPECT_THAT(answer("secret.example.com"), SizeIs(1));
  EXPECT_TRUE(is_forwarded("secret.example.com", dns::type::kA, "bank"));
}

TEST_F(DnsAnswerTest, OnlyTheNameIsKnown) {
  add_service("shop", "none.example.com", {});
  add_service("shop", "range.example.com", {}).vip_ranges = {*Cidr::parse("192.0.2.0/24")};
  Service& by_name = add_service("shop", "named.example.com", {});
  add_endpoint(by_name, "n", {});
  Service& fixed = add_service("shop", "static.example.com", {});
  add_endpoint(fixed, "s", {"192.0.2.7"});
  EXPECT_TRUE(is_forwarded("none.example.com"));
  EXPECT_TRUE(is_forwarded("range.example.com"));
  EXPECT_TRUE(is_forwarded("named.example.com"));
  EXPECT_THAT(answer("static.example.com"), ElementsAre("static.example.com 192.0.2.7"));
  const DnsDecision decision = decide("none.example.com.shop.svc.cluster.local", dns::type::kA);
  ASSERT_TRUE(std::holds_alternative<DnsAliased>(decision));
  EXPECT_EQ(std::get<DnsAliased>(decision).target.to_text(), "none.example.com");
}

TEST_F(DnsAnswerTest, ExternalNameIsAnAlias) {
  add_kubernetes_service("out", "shop", {}).external_name = "www.example.com";
  add_kubernetes_service("in", "shop", {}).external_name = "web.shop.svc.cluster.local";
  add_kubernetes_service("web", "shop", {"10.96.0.1"});
  const DnsDecision decision = decide("out.shop.svc.cluster.local", dns::type::kAaaa);
  const auto* aliased = std::get_if<DnsAliased>(&decision);
  ASSERT_NE(aliased, nullptr);
  EXPECT_EQ(aliased->target.to_text(), "www.example.com");
  EXPECT_THAT(to_texts(aliased->message.answers),
              ElementsAre("out.shop.svc.cluster.local CNAME www.example.com"));
  EXPECT_THAT(answer("in.shop.svc.cluster.local"),
              ElementsAre("in.shop.svc.cluster.local CNAME web.shop.svc.cluster.local",
                          "web.shop.svc.cluster.local 10.96.0.1"));
}

TEST_F(DnsAnswerTest, ExternalNamesInACircleEnd) {
  add_kubernetes_service("a", "shop", {}).external_name = "b.shop.svc.cluster.local";
  add_kubernetes_service("b", "shop", {}).external_name = "a.shop.svc.cluster.local";
  EXPECT_THAT(answer("a.shop.svc.cluster.local"), SizeIs(9));
  add_kubernetes_service("bad", "shop", {}).external_name = "a..b";
  EXPECT_TRUE(is_forwarded("bad.shop.svc.cluster.local"));
}

TEST_F(DnsAnswerTest, NoOtherRecordLeadsAroundAServicesAddress) {
  add_service("shop", "api.example.com", {"240.240.0.1"});
  constexpr uint16_t kTypeHttps = 65;
  EXPECT_THAT(answer("api.example.com", kTypeHttps), IsEmpty());
  EXPECT_TRUE(is_forwarded("www.example.com", kTypeHttps));
}

TEST_F(DnsAnswerTest, ManyEndpointsAreCut) {
  Service& many = add_kubernetes_service("many", "shop", {});
  for (uint32_t i = 0; i < kDnsRecordsMax + 5; ++i) {
    add_endpoint(many, "p" + std::to_string(i), {IpAddress::v4(0x0a010000 + i).to_string()});
  }
  EXPECT_THAT(answer("many.shop.svc.cluster.local"), SizeIs(kDnsRecordsMax));
}

}  // namespace
}  // namespace weft::node
