#include "tests/unit/agent/compile/l7/shop.h"

#include <gmock/gmock.h>

namespace weft::l7 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kWeb = "shop/wp/shop/web.shop.svc.cluster.local";

std::string api(const std::string& kind, const std::string& name, const std::string& spec,
                int year = 2026, const std::string& ns = "shop") {
  return "---\napiVersion: gateway.networking.k8s.io/v1\nkind: " + kind + "\n" +
         meta(ns, name, year) + "spec: " + spec + "\n";
}

std::string route(const std::string& rules, const std::string& kind = "HTTPRoute",
                  const std::string& name = "r", int year = 2026) {
  return api(kind, name,
             "{parentRefs: [{group: '', kind: Service, name: web}], rules: [" + rules + "]}", year);
}

const std::string kToApi = "backendRefs: [{name: api, port: 80}]";

// The only route that a rule makes, without what every route has.
std::string compiled(const std::string& rule, const std::string& kind = "HTTPRoute") {
  weft::route::Routes routes = routes_of(Shop(route("{" + rule + "}", kind)));
  if (routes.ports_size() != 1 || routes.ports(0).http_size() != 1) return to_json(routes);
  weft::route::HttpRoute& one = *routes.mutable_ports(0)->mutable_http(0);
  one.clear_origin();
  return to_json(one);
}

TEST(HttpRouteMatches, AreConditions) {
  const struct {
    std::string match;
    std::string expected;
  } kRows[] = {
      {"{path: {type: Exact, value: /a}}", R"({"path":{"exact":"/a"}})"},
      {"{path: {value: /a}}", R"({"path":{"segmentPrefix":"/a"}})"},
      {"{path: {type: RegularExpression, value: /a.*}, method: GET}",
       R"({"path":{"regex":"/a.*"},"method":{"exact":"GET"}})"},
      {"{headers: [{name: X-A, value: b}, {type: RegularExpression, name: c, value: d.*}]}",
       R"({"path":{"segmentPrefix":"/"},"headers":[{"name":"x-a","value":{"exact":"b"}},)"
       R"({"name":"c","value":{"regex":"d.*"}}]})"},
      {"{queryParams: [{name: Q, value: b}]}",
       R"({"path":{"segmentPrefix":"/"},"query":[{"name":"Q","value":{"exact":"b"}}]})"},
  };
  for (const auto& row : kRows) {
    EXPECT_THAT(compiled("matches: [" + row.match + "], " + kToApi),
                HasSubstr("\"matches\":[" + row.expected + "]"))
        << row.match;
  }
  EXPECT_THAT(compiled(kToApi), HasSubstr(R"("matches":[{"path":{"segmentPrefix":"/"}}])"));
}

TEST(HttpRouteMatches, OfGrpcAreOfPaths) {
  const auto path = [](const std::string& method) {
    return compiled("matches: [{method: " + method + "}], " + kToApi, "GRPCRoute");
  };
  EXPECT_THAT(path("{service: a.B, method: C}"), HasSubstr(R"({"exact":"/a.B/C"})"));
  EXPECT_THAT(path("{service: a.B}"), HasSubstr(R"({"prefix":"/a.B/"})"));
  EXPECT_THAT(path("{method: C}"), HasSubstr(R"({"regex":"/[^/]+/C"})"));
  EXPECT_THAT(path("{type: RegularExpression, service: a.*, method: C}"),
              HasSubstr(R"({"regex":"/a.*/C"})"));
}

TEST(HttpRouteRules, DoWhatTheirFiltersSay) {
  const std::string filter = "filters: [{type: ";
  const struct {
    std::string rule;
    std::string expected;
  } kRows[] = {
      {filter +
           "RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}], "
           "remove: [c]}}], " +
           kToApi,
       R"("requestHeaders":{"set":[{"name":"a","value":"b"}],"remove":["c"]})"},
      {filter + "ResponseHeaderModifier, responseHeaderModifier: {add: [{name: a, value: b}]}}], " +
           kToApi,
       R"("responseHeaders":{"add":[{"name":"a","value":"b"}]})"},
      {filter +
           "URLRewrite, urlRewrite: {hostname: h.example, path: {type: ReplacePrefixMatch, "
           "replacePrefixMatch: /x}}}], " +
           kToApi,
       R"("rewrite":{"segmentPrefix":"/x","authority":"h.example"})"},
      {filter + "URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}], " +
           kToApi,
       R"("rewrite":{"full":"/x"})"},
      {filter + "RequestRedirect, requestRedirect: {scheme: https, hostname: h.example, path: "
                "{type: ReplaceFullPath, replaceFullPath: /x}}}]",
       R"("redirect":{"status":302,"scheme":"https","host":"h.example","portFrom":"SCHEME",)"
       R"("path":{"full":"/x"}})"},
      {filter + "RequestRedirect, requestRedirect: {port: 8080, statusCode: 301}}]",
       R"("redirect":{"status":301,"port":8080})"},
      {filter +
           "RequestMirror, requestMirror: {backendRef: {name: api, port: 80}, fraction: "
           "{numerator: 1, denominator: 8}}}], " +
           kToApi,
       R"("perMillion":125000)"},
      {filter +
           "CORS, cors: {allowOrigins: ['*', 'https://*.a.example'], allowMethods: [GET]}}], " +
           kToApi,
       R"x("cors":{"origins":[{"present":true},{"regex":"https\\:\\/\\/.*\\.a\\.example"}],)x"
       R"x("methods":["GET"],"maxAgeS":5})x"},
      {"backendRefs: [{name: api, port: 80, filters: [{type: RequestHeaderModifier, "
       "requestHeaderModifier: {set: [{name: a, value: b}]}}]}]",
       R"("requestHeaders":{"set":[{"name":"a","value":"b"}]}}]})"},
      {"timeouts: {request: 2s}, " + kToApi, R"("timeoutMs":2000,"retry":{"attempts":2)"},
      {"timeouts: {request: 2s, backendRequest: 500ms}, " + kToApi, R"("timeoutMs":500)"},
      {"timeouts: {request: 2s, backendRequest: 500ms}, retry: {attempts: 3, codes: [503], "
       "backoff: 10ms}, " +
           kToApi,
       R"("timeoutMs":2000,"retry":{"attempts":3,"perTryTimeoutMs":500,"on":["connect-failure",)"
       R"("refused-stream","unavailable","cancelled","retriable-status-codes"],"statuses":[503],)"
       R"("backoffBaseMs":10)"},
      // What is not known must not be passed by.
      {filter + "ExtensionRef, extensionRef: {group: a, kind: b, name: c}}], " + kToApi,
       R"("forward":{}})"},
  };
  for (const auto& row : kRows) {
    EXPECT_THAT(compiled(row.rule), HasSubstr(row.expected)) << row.rule;
  }
}

std::string hosts(const Compiler& compiler) {
  std::string text;
  for (const auto& one : routes_of(compiler).ports(0).http(0).forward().destinations()) {
    text += std::to_string(one.weight()) + " " + one.destination().hostname() + "\n";
  }
  return text;
}

// The share of what is not there, or not granted, gets 500.
TEST(HttpRouteBackends, AreWeighed) {
  const std::string known = "api.shop.svc.cluster.local\n";
  EXPECT_EQ(hosts(Shop(route("{backendRefs: [{name: api, port: 80, weight: 90}, {name: gone, port: "
                             "80}, {name: api, port: 81}, {name: api, port: 80, weight: 0}]}"))),
            "90 " + known + "1 \n1 \n");
  EXPECT_EQ(hosts(Shop(route("{matches: []}"))), "");
  EXPECT_EQ(hosts(Shop(route("{backendRefs: [{group: networking.istio.io, kind: Hostname, name: "
                             "api.shop.svc.cluster.local, port: 80}]}"))),
            "1 " + known);
}

TEST(HttpRouteBackends, OfOtherNamespacesMustBeGranted) {
  const auto grant = [](const std::string& to) {
    return api("ReferenceGrant", "g",
               "{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}], to: "
               "[{group: '', kind: Service" +
                   to + "}]}",
               2026, "bank");
  };
  Shop compiler(service("bank", "pay") +
                route("{backendRefs: [{name: pay, namespace: bank, port: 80}]}"));
  EXPECT_EQ(hosts(compiler), "1 \n");
  EXPECT_THAT(steps(compiler.apply(changes_of(grant("")))), ElementsAre("+" + kWeb));
  EXPECT_EQ(hosts(compiler), "1 pay.bank.svc.cluster.local\n");
  compiler.apply(changes_of(grant(", name: other")));
  EXPECT_EQ(hosts(compiler), "1 \n");
  compiler.apply(changes_of(grant(", name: pay")));
  EXPECT_EQ(hosts(compiler), "1 pay.bank.svc.cluster.local\n");
  compiler.apply({removal("ReferenceGrant", "bank", "g")});
  EXPECT_EQ(hosts(compiler), "1 \n");
}

std::string order(const std::string& manifests) {
  std::string text;
  for (const auto& one : routes_of(Shop(manifests)).ports(0).http()) text += one.name() + " ";
  return text;
}

TEST(HttpRouteOrder, IsTheGatewayApis) {
  const auto rule = [](const std::string& name, const std::string& match) {
    return "{name: " + name + ", matches: [" + match + "], " + kToApi + "}";
  };
  EXPECT_EQ(
      order(route(rule("all", "{}") + ", " + rule("short", "{path: {value: /a}}") + ", " +
                  rule("query", "{path: {value: /a/b}, queryParams: [{name: q, value: v}]}") +
                  ", " + rule("header", "{path: {value: /a/b}, headers: [{name: h, value: v}]}") +
                  ", " + rule("method", "{path: {value: /a/b}, method: GET}") + ", " +
                  rule("long", "{path: {value: /a/b}}") + ", " +
                  rule("exact", "{path: {type: Exact, value: /a}}") + ", " +
                  rule("regex", "{path: {type: RegularExpression, value: /a/b/c.*}}"))),
      "exact method header query long short all regex ");
  // The older route, then namespace and name, then the first rule.
  EXPECT_EQ(order(route(rule("young", "{}"), "HTTPRoute", "a", 2026) +
                  route(rule("old1", "{}") + ", " + rule("old2", "{}"), "HTTPRoute", "z", 2020)),
            "old1 old2 young ");
}

TEST(HttpRouteParents, AreOnePortOrAll) {
  const std::string two =
      service("shop", "web", "{name: http, port: 80}, {name: http-b, port: 81}");
  const auto origins = [&](const std::string& parent) {
    std::string text;
    const Shop compiler(
        two + api("HTTPRoute", "r", "{parentRefs: [" + parent + "], rules: [{" + kToApi + "}]}"));
    for (const auto& port : routes_of(compiler).ports()) text += port.http(0).origin() + ";";
    return text;
  };
  EXPECT_EQ(origins("{group: '', kind: Service, name: web}"), "HTTPRoute shop/r;HTTPRoute shop/r;");
  EXPECT_EQ(origins("{group: '', kind: Service, name: web, port: 81}"), ";HTTPRoute shop/r;");
  EXPECT_EQ(origins("{name: web}"), ";;");  // a Gateway
  const std::string far =
      "{parentRefs: [{group: '', kind: Service, name: web, namespace: shop}], "
      "rules: [{" +
      kToApi + "}]}";
  EXPECT_EQ(routes_of(Shop(api("HTTPRoute", "r", far, 2026, "other"))).ports(0).http(0).origin(),
            "");
}

TEST(HttpRouteParents, AreCompiledAgainAlone) {
  Shop compiler("");
  EXPECT_THAT(steps(compiler.apply(changes_of(route("{" + kToApi + "}")))),
              ElementsAre("+" + kWeb));
  EXPECT_THAT(compiler.apply(changes_of(route("{" + kToApi + "}"))), IsEmpty());
  EXPECT_THAT(steps(compiler.apply({removal("HTTPRoute", "shop", "r")})), ElementsAre("+" + kWeb));
}

TEST(ConnectionRoutes, AreTheOldestsFirstRule) {
  const std::string db = service("shop", "db", "{name: tcp, port: 9000}");
  const auto tcp = [](const std::string& kind, const std::string& name, int year,
                      const std::string& more = "") {
    return api(kind, name,
               "{" + more +
                   "parentRefs: [{group: '', kind: Service, name: db}], rules: "
                   "[{backendRefs: [{name: api, port: 80, weight: 3}, {name: web, port: 80}]}]}",
               year);
  };
  const auto origin = [](const Compiler& compiler) {
    const auto routes = routes_of(compiler, "db");
    return routes.ports(0).tcp_size() == 1 ? routes.ports(0).tcp(0).origin() : "none";
  };
  EXPECT_EQ(origin(Shop(db + tcp("TCPRoute", "a", 2026) + tcp("TCPRoute", "b", 2020))),
            "TCPRoute shop/b");
  EXPECT_EQ(origin(Shop(db + tcp("TLSRoute", "a", 2026, "hostnames: [x.example], "))), "none");
  EXPECT_EQ(
      origin(Shop(db + tcp("TLSRoute", "a", 2026, "hostnames: [db.shop.svc.cluster.local], "))),
      "TLSRoute shop/a");
}

std::string guard(const std::string& kind, const std::string& target,
                  const std::string& more = "") {
  return "---\napiVersion: security.istio.io/v1\nkind: " + kind +
         "\nmetadata: {namespace: shop, "
         "name: p}\nspec: {targetRefs: [{" +
         target + "}]" + more + "}\n";
}

// A policy that a waypoint does not enforce lets nobody through.
TEST(Refusal, IsByPoliciesForTheWaypointOrTheService) {
  const auto refused = [](const std::string& policy) {
    const Shop compiler(policy);
    return routes_of(compiler).refused() + ";" + routes_of(compiler, "api").refused();
  };
  const std::string of_web = "kind: Service, group: '', name: web";
  const std::string text =
      " shop/p guards it, and this version's waypoints do not enforce that yet";
  EXPECT_EQ(refused(guard("AuthorizationPolicy", of_web)), "AuthorizationPolicy" + text + ";");
  EXPECT_EQ(refused(guard("RequestAuthentication", of_web)), "RequestAuthentication" + text + ";");
  EXPECT_EQ(refused(guard("AuthorizationPolicy", of_web, ", action: AUDIT, rules: [{}]")), ";");
  EXPECT_EQ(refused(guard("AuthorizationPolicy",
                          "kind: Gateway, group: gateway.networking.k8s.io, name: wp")),
            "AuthorizationPolicy" + text + ";AuthorizationPolicy" + text);
  EXPECT_EQ(refused(guard("AuthorizationPolicy",
                          "kind: Gateway, group: gateway.networking.k8s.io, name: other")),
            ";");
  Shop compiler("");
  EXPECT_THAT(steps(compiler.apply(changes_of(guard("AuthorizationPolicy", of_web)))),
              ElementsAre("+" + kWeb));
  EXPECT_THAT(steps(compiler.apply({removal("AuthorizationPolicy", "shop", "p")})),
              ElementsAre("+" + kWeb));
  EXPECT_EQ(routes_of(compiler).refused(), "");
}

}  // namespace
}  // namespace weft::l7
