#include "tests/unit/agent/compile/l7/shop.h"

#include <gmock/gmock.h>

namespace weft::l7 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// A rule's conditions as the waypoint gets them.
TEST(HttpMatches, AreConditionsOnTheRequest) {
  const struct {
    std::string match;
    std::string expected;
  } kRows[] = {
      {"{uri: {exact: /a}}", R"({"path":{"exact":"/a"}})"},
      {"{uri: {prefix: /a}, ignoreUriCase: true}", R"({"path":{"prefix":"/a","ignoreCase":true}})"},
      {"{uri: {regex: \"/a.*\"}}", R"({"path":{"regex":"/a.*"}})"},
      {"{method: {exact: GET}, scheme: {exact: https}, authority: {prefix: web}}",
       R"({"method":{"exact":"GET"},"authority":{"prefix":"web"},"scheme":{"exact":"https"}})"},
      {"{headers: {x-canary: {exact: \"true\"}, a: {}}}",
       R"({"headers":[{"name":"a","value":{"present":true}},{"name":"x-canary","value":{"exact":)"
       R"("true"}}]})"},
      {"{headers: {a: {regex: \"*\"}, method: {exact: GET}}}",
       R"({"headers":[{"name":"a","value":{"present":true}}]})"},
      {"{withoutHeaders: {end-user: {}}}",
       R"({"headers":[{"name":"end-user","value":{"present":true},"invert":true}]})"},
      {"{queryParams: {q: {exact: x}, r: {}}, name: nn}",
       R"({"name":"nn","query":[{"name":"q","value":{"exact":"x"}},{"name":"r","value":)"
       R"({"present":true}}]})"},
      {"{port: 80, uri: {exact: /a}}", R"({"path":{"exact":"/a"}})"},
      {"{gateways: [mesh], uri: {exact: /a}}", R"({"path":{"exact":"/a"}})"},
  };
  for (const auto& row : kRows) {
    EXPECT_THAT(compiled_rule("{match: [" + row.match + "], directResponse: {status: 200}}"),
                "{\"matches\":[" + row.expected + "],\"directResponse\":{\"status\":200}}")
        << row.match;
  }
}

constexpr const char* kToWeb =
    R"("forward":{"destinations":[{"weight":1,"destination":)"
    R"({"namespace":"shop","hostname":"web.shop.svc.cluster.local","port":80}}]})";

// Who the client is, is not known to a waypoint; what is of another port or gateway is not for it.
TEST(HttpMatches, ThatNoRequestFulfilsMakeNoRoute) {
  for (const char* match : {"{sourceLabels: {app: x}}", "{sourceNamespace: other}", "{port: 81}",
                            "{gateways: [edge]}"}) {
    const std::string json =
        compiled_rule("{match: [" + std::string(match) + "], directResponse: {status: 200}}");
    EXPECT_THAT(json, HasSubstr(R"("name":"default")")) << match;
    EXPECT_THAT(json, HasSubstr(kToWeb)) << match;
  }
}

TEST(HttpRoutes, AfterOneThatEverythingMatchesAreNeverAsked) {
  const Shop compiler(virtual_service(
      "vs",
      "{hosts: [web], http: [{name: a, match: [{uri: {exact: /a}}, {uri: {prefix: /}}, {uri: "
      "{exact: /b}}], route: [{destination: {host: web}}]}, {name: b, route: [{destination: "
      "{host: api}}]}]}"));
  const auto routes = routes_of(compiler);
  ASSERT_EQ(routes.ports(0).http_size(), 1);
  EXPECT_EQ(routes.ports(0).http(0).name(), "a");
  EXPECT_EQ(routes.ports(0).http(0).matches_size(), 2);
  EXPECT_EQ(routes.ports(0).http(0).origin(), "VirtualService shop/vs");
}

// What a rule does, without its conditions and defaults.
TEST(HttpRoutes, DoWhatTheRuleSays) {
  const std::string route = ", route: [{destination: {host: web}}]";
  const struct {
    std::string rule;
    std::string expected;
  } kRows[] = {
      {"timeout: 1500us" + route, R"("timeoutMs":2)"},
      {"timeout: 0.5s" + route, R"("timeoutMs":500)"},
      {"rewrite: {uri: /new, authority: a.example}" + route,
       R"("rewrite":{"prefix":"/new","authority":"a.example"})"},
      {"rewrite: {uri: /new}" + route, R"("matches":[{"path":{"prefix":"/"}}])"},
      {"rewrite: {uriRegexRewrite: {match: \"/a/(.*)\", rewrite: \"/b/\\\\1\"}}" + route,
       R"x("rewrite":{"regex":{"match":"/a/(.*)","substitution":"/b/\\1"}})x"},
      {"redirect: {uri: /x, authority: y.example, redirectCode: 308, scheme: https, port: 8443}",
       R"("redirect":{"status":308,"scheme":"https","host":"y.example","port":8443,"path":)"
       R"({"full":"/x"}})"},
      {"redirect: {uri: /x}", R"("redirect":{"status":301,"path":{"full":"/x"}})"},
      {"redirect: {derivePort: FROM_PROTOCOL_DEFAULT}",
       R"("redirect":{"status":301,"portFrom":"SCHEME"})"},
      {"redirect: {derivePort: FROM_REQUEST_PORT}", R"("redirect":{"status":301,"port":80})"},
      {"directResponse: {status: 418, body: {string: tea}}",
       R"("directResponse":{"status":418,"body":"dGVh"})"},
      {"directResponse: {status: 418, body: {bytes: dGVh}}",
       R"("directResponse":{"status":418,"body":"dGVh"})"},
      {"headers: {request: {set: {b: x, a: z, Host: h.example}, add: {c: z}, remove: [d]}, "
       "response: {add: {e: f}}}" +
           route,
       R"("rewrite":{"authority":"h.example"},"requestHeaders":{"set":[{"name":"a","value":"z"},)"
       R"({"name":"b","value":"x"}],"add":[{"name":"c","value":"z"}],"remove":["d"]},)"
       R"("responseHeaders":{"add":[{"name":"e","value":"f"}]})"},
      {"fault: {delay: {fixedDelay: 7s, percentage: {value: 0.1}}, abort: {httpStatus: 500, "
       "percentage: {value: 100}}}" +
           route,
       R"("fault":{"delay":{"perMillion":1000,"delayMs":7000},"abort":{"perMillion":1000000,)"
       R"("httpStatus":500}})"},
      {"fault: {delay: {fixedDelay: 7s, percent: 50}}" + route,
       R"("fault":{"delay":{"perMillion":500000,"delayMs":7000}})"},
      {"fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}" + route,
       R"("fault":{"abort":{"perMillion":1000000,"grpcStatus":14}})"},
      {"mirror: {host: api}" + route,
       R"("mirrors":[{"destination":{"namespace":"shop","hostname":"api.shop.svc.cluster.local",)"
       R"("port":80},"perMillion":1000000}])"},
      {"mirror: {host: api}, mirrorPercentage: {value: 10}" + route, R"("perMillion":100000)"},
      {"mirrors: [{destination: {host: api}, percentage: {value: 0}}, {destination: {host: api, "
       "subset: v2}}]" +
           route,
       R"("mirrors":[{"destination":{"namespace":"shop","hostname":"api.shop.svc.cluster.local",)"
       R"("port":80,"subset":"v2"},"perMillion":1000000}])"},
      {"corsPolicy: {allowOrigins: [{exact: \"*\"}, {prefix: \"https://\"}], allowOrigin: "
       "[http://a], allowMethods: [GET], allowHeaders: [x], exposeHeaders: [e], maxAge: 24h, "
       "allowCredentials: true}" +
           route,
       R"("cors":{"origins":[{"present":true},{"prefix":"https://"},{"exact":"http://a"}],)"
       R"("methods":["GET"],"headers":["x"],"expose":["e"],"maxAgeS":86400,"credentials":true,)"
       R"("forwardUnmatchedPreflights":true})"},
      {"corsPolicy: {unmatchedPreflights: IGNORE}" + route, R"("cors":{})"},
  };
  for (const auto& row : kRows) {
    EXPECT_THAT(compiled_rule("{" + row.rule + "}"), HasSubstr(row.expected)) << row.rule;
  }
  EXPECT_THAT(compiled_rule("{fault: {abort: {httpStatus: 500}}" + route + "}"),
              Not(HasSubstr("fault")));
}

TEST(Retries, HaveIstiosDefaults) {
  const std::string route = "route: [{destination: {host: web}}]";
  const std::string known = R"("on":["connect-failure","refused-stream","unavailable","cancelled",)"
                            R"("retriable-status-codes"])";
  EXPECT_THAT(compiled_rule("{" + route + "}"),
              HasSubstr(R"("retry":{"attempts":2,)" + known +
                        R"(,"backoffBaseMs":25,"backoffMaxMs":250,"avoidPreviousHosts":true})"));
  EXPECT_THAT(compiled_rule("{retries: {attempts: 0}, " + route + "}"), Not(HasSubstr("retry")));
  EXPECT_THAT(compiled_rule("{retries: {attempts: 3, perTryTimeout: 2s}, " + route + "}"),
              HasSubstr(R"("retry":{"attempts":3,"perTryTimeoutMs":2000,)" + known));
  EXPECT_THAT(
      compiled_rule("{retries: {attempts: 3, retryOn: \"5xx, 503,504\", backoff: 10ms, "
                    "retryIgnorePreviousHosts: false, retryRemoteLocalities: true}, " +
                    route + "}"),
      HasSubstr(
          R"("retry":{"attempts":3,"on":["5xx","retriable-status-codes"],"statuses":[503,504],)"
          R"("backoffBaseMs":10,"backoffMaxMs":100,"otherLocalities":true})"));
}

TEST(Retries, OfTheMeshAreInItsConfigMap) {
  const std::string mesh =
      "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: istio-system, name: istio}\n"
      "data:\n  mesh: |\n    defaultHttpRetryPolicy: {attempts: 5, retryOn: reset}\n";
  const std::string vs =
      virtual_service("vs", "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}");
  Shop compiler(vs);
  EXPECT_EQ(routes_of(compiler).ports(0).http(0).retry().attempts(), 2U);
  EXPECT_THAT(steps(compiler.apply(changes_of(mesh))),
              ElementsAre("+shop/wp/shop/web.shop.svc.cluster.local"));
  EXPECT_EQ(routes_of(compiler).ports(0).http(0).retry().attempts(), 5U);
}

std::string destinations(const std::string& rule, const std::string& more = "") {
  const Shop compiler(virtual_service("vs", "{hosts: [web], http: [{" + rule + "}]}") + more);
  std::string text;
  for (const auto& one : routes_of(compiler).ports(0).http(0).forward().destinations()) {
    text += std::to_string(one.weight()) + " " + one.destination().hostname() + ":" +
            std::to_string(one.destination().port()) + "/" + one.destination().subset() + "\n";
  }
  return text;
}

TEST(Destinations, AreWeighedAndWhole) {
  EXPECT_EQ(
      destinations("route: [{destination: {host: web, subset: v1}, weight: 90}, {destination: "
                   "{host: web, subset: v2}, weight: 10}, {destination: {host: api}}]"),
      "90 web.shop.svc.cluster.local:80/v1\n10 web.shop.svc.cluster.local:80/v2\n");
  EXPECT_EQ(destinations("route: [{destination: {host: Web.shop.svc.cluster.local.}, weight: 0}]"),
            "1 web.shop.svc.cluster.local:80/\n");
  // A name with a dot is whole; who does not exist answers nothing.
  EXPECT_EQ(destinations("route: [{destination: {host: web.shop}}]"), "1 :0/\n");
  const std::string two = service("shop", "two", "{name: a, port: 81}, {name: b, port: 80}");
  EXPECT_EQ(destinations("route: [{destination: {host: two}}]", two),
            "1 two.shop.svc.cluster.local:80/\n");
  EXPECT_EQ(destinations("route: [{destination: {host: two, port: {number: 81}}}]", two),
            "1 two.shop.svc.cluster.local:81/\n");
  const std::string one = service("shop", "one", "{name: a, port: 8080}");
  EXPECT_EQ(destinations("route: [{destination: {host: one}}]", one),
            "1 one.shop.svc.cluster.local:8080/\n");
  const std::string entry = istio("ServiceEntry", "other", "ext",
                                  "{hosts: [api.example.com], resolution: DNS, ports: [{number: "
                                  "443, name: https, protocol: HTTPS}]}");
  EXPECT_EQ(destinations("route: [{destination: {host: api.example.com}}]", entry),
            "1 api.example.com:443/\n");
}

TEST(Destinations, OwnHeadersAreTheirs) {
  const std::string json = compiled_rule(
      "{headers: {request: {set: {a: r}}}, route: [{destination: {host: web}, headers: {request: "
      "{set: {a: d, host: x.example}}}}]}");
  EXPECT_THAT(
      json,
      HasSubstr(
          R"("rewrite":{"authority":"x.example"},"requestHeaders":{"set":[{"name":"a","value":)"
          R"("r"},{"name":"a","value":"d"}]})"));
  EXPECT_THAT(
      compiled_rule("{rewrite: {uri: /n}, route: [{destination: {host: web}, weight: 1, "
                    "headers: {response: {remove: [s]}, request: {set: {host: x.example}}}}"
                    ", {destination: {host: api}, weight: 1}]}"),
      HasSubstr(R"("responseHeaders":{"remove":["s"]},"rewrite":{"prefix":"/n","authority":)"
                R"("x.example"}})"));
}

std::string port_json(const std::string& ports, const std::string& rules) {
  const Shop compiler(service("shop", "db", ports) +
                      virtual_service("vs", "{hosts: [db], " + rules + "}"));
  std::string text;
  for (const auto& port : routes_of(compiler, "db").ports()) text += to_json(port) + "\n";
  return text;
}

TEST(Ports, SpeakWhatTheirNamesSay) {
  const Shop compiler(service(
      "shop", "all",
      "{name: http, port: 1}, {name: http2-x, port: 2}, {name: grpc, port: 3}, {name: grpc-web, "
      "port: 4}, {name: tcp, port: 5}, {name: https, port: 6}, {name: x, port: 7}, {name: z, port: "
      "8, appProtocol: kubernetes.io/h2c}, {name: http-z, port: 9, appProtocol: TCP}, {name: udp, "
      "port: 10, protocol: UDP}, {name: mail, port: 25}, {name: mysql, port: 12}"));
  std::string text;
  for (const auto& port : routes_of(compiler, "all").ports()) {
    text += std::to_string(port.port()) + " " + weft::route::Port::Protocol_Name(port.protocol()) +
            " " + std::to_string(port.http_size()) + "\n";
  }
  EXPECT_EQ(text,
            "1 HTTP1 1\n2 HTTP2 1\n3 HTTP2 1\n4 HTTP1 1\n5 TCP 0\n6 TLS 0\n7 SNIFF 1\n8 HTTP2 1\n"
            "9 TCP 0\n25 TCP 0\n12 TCP 0\n");
}

TEST(TcpRoutes, AreOfPortsThatAreNotHttp) {
  EXPECT_EQ(
      port_json("{name: tcp, port: 9000}",
                "tcp: [{match: [{port: 9000}], route: [{destination: {host: db, subset: v1}, "
                "weight: 80}, {destination: {host: db, subset: v2}, weight: 20}]}, {route: "
                "[{destination: {host: web}}]}]"),
      R"({"port":9000,"protocol":"TCP","tcp":[{"forward":{"destinations":[{"weight":80,)"
      R"("destination":{"namespace":"shop","hostname":"db.shop.svc.cluster.local","port":9000,)"
      R"("subset":"v1"}},{"weight":20,"destination":{"namespace":"shop","hostname":)"
      R"("db.shop.svc.cluster.local","port":9000,"subset":"v2"}}]},"origin":"VirtualService )"
      R"(shop/vs"}]})"
      "\n");
  EXPECT_THAT(port_json("{name: tcp, port: 9000}",
                        "tcp: [{match: [{destinationSubnets: [10.0.0.0/8]}], route: [{destination: "
                        "{host: db}}]}]"),
              HasSubstr(R"("matches":[{"destinationCidrs":["10.0.0.0/8"]}])"));
  // TLS before TCP, and only where its SNI is the service.
  EXPECT_THAT(
      port_json("{name: tls, port: 9000}",
                "tcp: [{route: [{destination: {host: api}}]}], tls: [{match: [{sniHosts: "
                "[db]}], route: [{destination: {host: web}}]}, {match: [{sniHosts: "
                "[x.example]}], route: [{destination: {host: db}}]}]"),
      testing::AllOf(testing::ContainsRegex("web.shop.*api.shop"), Not(HasSubstr("db.shop"))));
}

}  // namespace
}  // namespace weft::l7
