#include "tests/unit/agent/compile/l7/shop.h"

#include <gmock/gmock.h>

namespace weft::l7 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string to(const std::string& host, const std::string& from = "web") {
  return "{hosts: [" + from + "], http: [{route: [{destination: {host: " + host + "}}]}]}";
}

std::string first_host(const Compiler& compiler, const std::string& service = "web") {
  const auto routes = routes_of(compiler, service);
  if (routes.ports_size() == 0 || routes.ports(0).http_size() == 0) return "none";
  return routes.ports(0).http(0).forward().destinations(0).destination().hostname();
}

const std::string kWeb = "shop/wp/shop/web.shop.svc.cluster.local";
const std::string kApi = "shop/wp/shop/api.shop.svc.cluster.local";

TEST(WaypointRoutes, AreOfServicesThatHaveAWaypoint) {
  Shop compiler("");
  EXPECT_EQ(routes_of(compiler).ports(0).http(0).retry().on(0), "reset-before-request");
  // The Service's own label is stronger than its namespace's.
  const auto labelled = [](const std::string& labels) {
    std::string text = service("shop", "web");
    return text.replace(text.find("name: web"), 9, "name: web, labels: {" + labels + "}");
  };
  EXPECT_THAT(steps(compiler.apply(changes_of(labelled("istio.io/use-waypoint: none")))),
              ElementsAre("+shop/web.shop.svc.cluster.local", "-" + kWeb));
  EXPECT_THAT(steps(compiler.apply(changes_of(labelled(
                  "istio.io/use-waypoint: other, istio.io/use-waypoint-namespace: edge")))),
              ElementsAre("+shop/web.shop.svc.cluster.local",
                          "+edge/other/shop/web.shop.svc.cluster.local"));
  EXPECT_THAT(steps(compiler.apply(changes_of(shop_namespace("")))),
              ElementsAre("+shop/api.shop.svc.cluster.local", "-" + kApi));
  EXPECT_THAT(steps(compiler.apply({removal("Service", "shop", "web")})),
              ElementsAre("-edge/other/shop/web.shop.svc.cluster.local",
                          "-shop/web.shop.svc.cluster.local"));
}

// One changed rule is one resource, however many there are.
TEST(WaypointRoutes, SayOnlyWhatAChangeTouches) {
  constexpr int kServices = 100;
  std::string text = shop_namespace();
  for (int i = 0; i < kServices; ++i) {
    const std::string name = "s" + std::to_string(i);
    text += service("shop", name) + virtual_service(name, to(name, name));
  }
  Compiler compiler({});
  EXPECT_EQ(compiler.apply(changes_of(text)).size(), 2U * kServices);
  EXPECT_THAT(steps(compiler.apply(changes_of(virtual_service("s7", to("s8", "s7"))))),
              ElementsAre("+shop/wp/shop/s7.shop.svc.cluster.local"));
  // The same again, and a rule for others: nothing.
  EXPECT_THAT(compiler.apply(changes_of(virtual_service("s7", to("s8", "s7")))), IsEmpty());
  EXPECT_THAT(compiler.apply(changes_of(virtual_service("x", to("s8", "nobody")))), IsEmpty());
  EXPECT_THAT(steps(compiler.apply({removal("VirtualService", "shop", "s7")})),
              ElementsAre("+shop/wp/shop/s7.shop.svc.cluster.local"));
  // A pod is nothing to routes.
  EXPECT_THAT(steps(compiler.apply(changes_of(compile::pod("shop", "p", "app: s1", "10.0.0.1")))),
              ElementsAre("+Kubernetes//Pod/shop/p"));
}

TEST(WaypointRoutes, FollowWhatTheyName) {
  Shop compiler(virtual_service("vs", to("late")));
  EXPECT_EQ(first_host(compiler), "");
  EXPECT_THAT(steps(compiler.apply(changes_of(service("shop", "late")))),
              ElementsAre("+shop/late.shop.svc.cluster.local",
                          "+shop/wp/shop/late.shop.svc.cluster.local", "+" + kWeb));
  EXPECT_EQ(first_host(compiler), "late.shop.svc.cluster.local");
  EXPECT_THAT(steps(compiler.apply({removal("Service", "shop", "late")})),
              ElementsAre("+" + kWeb, "-shop/wp/shop/late.shop.svc.cluster.local",
                          "-shop/late.shop.svc.cluster.local"));
}

TEST(Selection, TheOldestComesFirst) {
  const std::string rule = "{match: [{uri: {exact: /a}}], route: [{destination: {host: api}}]}";
  Shop compiler(virtual_service("new", to("web"), 2025) + virtual_service("old", to("api"), 2024));
  EXPECT_EQ(first_host(compiler), "api.shop.svc.cluster.local");
  // What the older one leaves open is the younger one's.
  compiler.apply(changes_of(virtual_service("old", "{hosts: [web], http: [" + rule + "]}", 2024)));
  ASSERT_EQ(routes_of(compiler).ports(0).http_size(), 2);
  EXPECT_EQ(routes_of(compiler).ports(0).http(1).origin(), "VirtualService shop/new");
}

TEST(Selection, TheMostExactHostWins) {
  Shop compiler(virtual_service("all", to("api", "\"*\""), 2020) +
                virtual_service("some", to("web", "\"*.shop.svc.cluster.local\"")));
  EXPECT_EQ(first_host(compiler), "web.shop.svc.cluster.local");
  compiler.apply(changes_of(virtual_service("exact", to("api"))));
  EXPECT_EQ(first_host(compiler), "api.shop.svc.cluster.local");
  EXPECT_EQ(first_host(compiler, "api"), "web.shop.svc.cluster.local");
  EXPECT_THAT(steps(compiler.apply({removal("VirtualService", "shop", "some")})),
              ElementsAre("+" + kApi));
  EXPECT_EQ(routes_of(compiler, "api").ports(0).http(0).origin(), "VirtualService shop/all");
}

// Of the service's namespace or the waypoint's, for the mesh, and seen by the waypoint.
TEST(Selection, OthersAreNotInForce) {
  const std::string whole = "web.shop.svc.cluster.local";
  const auto origin = [](const std::string& manifests) {
    return routes_of(Shop(manifests)).ports(0).http(0).origin();
  };
  EXPECT_EQ(origin(istio("VirtualService", "other", "vs", to("web", whole))), "");
  EXPECT_EQ(origin(virtual_service("vs", "{gateways: [edge], " + to("web").substr(1))), "");
  EXPECT_EQ(origin(virtual_service("vs", "{gateways: [edge, mesh], " + to("web").substr(1))),
            "VirtualService shop/vs");
  EXPECT_EQ(origin(virtual_service("vs", "{exportTo: [other], " + to("web").substr(1))), "");
  EXPECT_EQ(origin(virtual_service("vs", "{exportTo: [\".\"], " + to("web").substr(1))),
            "VirtualService shop/vs");
  const std::string elsewhere =
      shop_namespace("istio.io/use-waypoint: wp, istio.io/use-waypoint-namespace: infra");
  Compiler compiler({});
  compiler.apply(changes_of(elsewhere + service("shop", "web") +
                            virtual_service("own", "{exportTo: [\".\"], " + to("web").substr(1)) +
                            istio("VirtualService", "infra", "vs", to(whole, whole))));
  EXPECT_EQ(routes_of(compiler, "web", "shop", "infra/wp").ports(0).http(0).origin(),
            "VirtualService infra/vs");
}

TEST(Delegates, GiveTheirRulesWhereTheRootDelegates) {
  const std::string root = virtual_service(
      "root",
      "{hosts: [web], http: [{name: r, match: [{uri: {prefix: /a}, name: m}], delegate: {name: d, "
      "namespace: team}, timeout: 3s, headers: {request: {set: {x: z}}}}]}");
  const auto delegate = [](const std::string& rules, const std::string& more = "") {
    return istio("VirtualService", "team", "d", "{" + more + "http: [" + rules + "]}");
  };
  Shop compiler(root + service("team", "own"));
  EXPECT_EQ(routes_of(compiler).ports(0).http(0).name(), "default");
  EXPECT_THAT(
      steps(compiler.apply(changes_of(delegate(
          "{name: d, match: [{uri: {prefix: /a/b}, name: nn}], timeout: 1s, route: [{destination: "
          "{host: own}}]}, {match: [{uri: {prefix: /other}}], route: [{destination: {host: "
          "own}}]}, {route: [{destination: {host: own}}]}")))),
      ElementsAre("+" + kWeb));
  const auto routes = routes_of(compiler).ports(0).http();
  ASSERT_EQ(routes.size(), 2);
  EXPECT_EQ(routes[0].name(), "r-d");
  EXPECT_EQ(routes[0].timeout_ms(), 1000U);
  EXPECT_EQ(to_json(routes[0].matches(0)), R"({"name":"m-nn","path":{"prefix":"/a/b"}})");
  EXPECT_EQ(routes[0].forward().destinations(0).destination().hostname(),
            "own.team.svc.cluster.local");
  EXPECT_EQ(routes[0].request_headers().set(0).name(), "x");
  EXPECT_EQ(routes[1].name(), "r");
  EXPECT_EQ(routes[1].timeout_ms(), 3000U);
  EXPECT_EQ(to_json(routes[1].matches(0)), R"({"name":"m","path":{"prefix":"/a"}})");
  // One that is not exported, or has hosts of its own, is none.
  const std::string rule = "{route: [{destination: {host: own}}]}";
  compiler.apply(changes_of(delegate(rule, "exportTo: [\".\"], ")));
  EXPECT_EQ(routes_of(compiler).ports(0).http(0).name(), "default");
  compiler.apply(changes_of(delegate(rule, "hosts: [own], ")));
  EXPECT_EQ(routes_of(compiler).ports(0).http(0).name(), "default");
}

// Whether both conditions can be one.
TEST(Delegates, ConflictWhereTheirConditionIsNoPartOfTheRoots) {
  const struct {
    const char* root;
    const char* leaf;
    bool merges;
  } kRows[] = {
      {"{uri: {prefix: /a}}", "{uri: {exact: /a/b}}", true},
      {"{uri: {prefix: /a}}", "{uri: {exact: /b}}", false},
      {"{uri: {exact: /a}}", "{uri: {prefix: /a}}", false},
      {"{uri: {exact: /a}}", "{uri: {exact: /a}}", true},
      {"{uri: {regex: \"/a.*\"}}", "{uri: {exact: /a}}", false},
      {"{uri: {prefix: /a}}", "{uri: {regex: \"/a.*\"}}", false},
      {"{uri: {regex: \"/a.*\"}}", "{method: {exact: GET}}", true},
      {"{headers: {a: {exact: x}}}", "{headers: {a: {exact: z}}}", false},
      {"{headers: {a: {exact: x}}}", "{headers: {b: {exact: z}}}", true},
      {"{queryParams: {a: {exact: x}}}", "{queryParams: {a: {exact: z}}}", false},
      {"{withoutHeaders: {a: {exact: x}}}", "{withoutHeaders: {a: {exact: z}}}", false},
      {"{port: 80}", "{port: 81}", false},
      {"{gateways: [mesh]}", "{gateways: [edge]}", false},
      {"{ignoreUriCase: true, uri: {prefix: /a}}", "{uri: {prefix: /a}}", false},
  };
  for (const auto& row : kRows) {
    const Shop compiler(
        virtual_service("root", std::string("{hosts: [web], http: [{match: [") + row.root +
                                    "], delegate: {name: d}}]}") +
        virtual_service("d", std::string("{http: [{match: [") + row.leaf +
                                 "], name: d, route: [{destination: {host: web}}]}]}"));
    EXPECT_EQ(routes_of(compiler).ports(0).http(0).name(), row.merges ? "d" : "default")
        << row.root << " " << row.leaf;
  }
}

}  // namespace
}  // namespace weft::l7
