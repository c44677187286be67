// One row a finding about routes: manifests, and exactly what is to be said about them.

#include "agent/compile/analyze/analyze.h"
#include "tests/unit/agent/compile/manifests.h"

#include <gmock/gmock.h>

namespace weft::analyze {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<Finding> analyze_text(std::string_view yaml) {
  objects::Parsed parsed = objects::parse_manifests(yaml, "test.yaml");
  return analyze({std::move(parsed.objects), std::move(parsed.errors), {}});
}

std::vector<std::string> heads(const std::vector<Finding>& findings) {
  std::vector<std::string> result;
  for (const Finding& finding : findings) {
    result.push_back(std::string(to_string(finding.rule.level)) + " " +
                     std::string(finding.rule.code) + " " + finding.origin);
  }
  return result;
}

std::string shop(const std::string& label = "") {
  return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {" + label + "}}\n" +
         compile::pod("shop", "web", "app: web", "10.0.0.1", "");
}

std::string service(const std::string& name, const std::string& selector,
                    const std::string& ports) {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: " + name +
         "}\nspec: {selector: {" + selector + "}, ports: [" + ports + "]}\n";
}

std::string object(const std::string& api, const std::string& kind, const std::string& meta,
                   const std::string& rest) {
  return "---\napiVersion: " + api + "\nkind: " + kind + "\nmetadata: {" + meta + "}\n" + rest +
         "\n";
}

struct Row {
  const char* name;
  std::string yaml;
  std::string head;     // empty: nothing is found
  std::string message;  // a part of it
};

constexpr const char* kNet = "networking.istio.io/v1";

// A namespace behind a waypoint, with the Service web, two ports, and a subset v1 of it.
std::string shop_at_waypoint() {
  const std::string text = shop("istio.io/use-waypoint: wp");
  const std::string gateway =
      object("gateway.networking.k8s.io/v1", "Gateway", "namespace: shop, name: wp",
             "spec: {gatewayClassName: weft-waypoint, listeners: [{name: mesh, port: 15008, "
             "protocol: HBONE}]}");
  return text + gateway + service("web", "app: web", "{name: http, port: 80, targetPort: 8080}") +
         service(
             "two", "app: web",
             "{name: http, port: 80, targetPort: 8080}, {name: b, port: 81, targetPort: 8080}") +
         object(kNet, "DestinationRule", "namespace: shop, name: d",
                "spec: {host: web, subsets: [{name: v1, labels: {app: web}}]}");
}

std::string routes(const std::string& rules, const std::string& name = "v",
                   const std::string& host = "web") {
  return object(kNet, "VirtualService", "namespace: shop, name: " + name,
                "spec: {hosts: [" + host + "], http: [" + rules + "]}");
}

std::vector<Row> rows_of_routes() {
  const std::string shops = shop_at_waypoint();
  const std::string to_web = "route: [{destination: {host: web, subset: v1}}]";
  const std::string a = "match: [{uri: {exact: /a}}], ";
  return {
      {"RoutesInOrder", shops + routes("{" + a + to_web + "}, {" + to_web + "}"), "", ""},
      {"UnknownSubset", shops + routes("{route: [{destination: {host: web, subset: v9}}]}"),
       "Error IST0101 VirtualService shop/v", "\"web+v9\""},
      {"WeightsOfNothing",
       shops + routes("{route: [{destination: {host: web}, weight: 0}, {destination: {host: two}, "
                      "weight: 0}]}"),
       "Error IST0106 VirtualService shop/v", "total destination weight = 0"},
      {"BadRegex", shops + routes("{match: [{uri: {regex: \"a(\"}}], " + to_web + "}"),
       "Error IST0106 VirtualService shop/v", "spec.http[0].match[0].uri.regex"},
      {"NoAction", shops + routes("{timeout: 1s}"), "Error IST0106 VirtualService shop/v",
       "HTTP route, redirect or direct_response is required"},
      {"PortOfTwo", shops + routes("{route: [{destination: {host: two}}]}"),
       "Error IST0112 VirtualService shop/v", "multiple ports [80 81]"},
      {"AfterACatchAll", shops + routes("{name: all, " + to_web + "}, {" + a + to_web + "}"),
       "Warning IST0130 VirtualService shop/v", "rule #1 not used (rule all before it"},
      {"SameMatchTwice",
       shops + routes("{" + a + to_web + "}, {match: [{uri: {exact: /a}}, {uri: {exact: /b}}], " +
                      to_web + "}"),
       "Info IST0131 VirtualService shop/v", "rule #1 match #0 is not used"},
      {"SubsetOfNobody",
       shops + object(kNet, "DestinationRule", "namespace: shop, name: e",
                      "spec: {host: two, subsets: [{name: v3, labels: {version: v3}}]}"),
       "Error IST0173 DestinationRule shop/e", "The Subset v3 defined"},
      {"RoutesWithoutAWaypoint",
       shop() + service("web", "app: web", "{name: http, port: 80, targetPort: 8080}") +
           routes("{route: [{destination: {host: web}}]}"),
       "Warning IST0167 VirtualService shop/v", "weft waypoint apply -n shop"},
      {"RouteOfMissingBackend",
       shops + object("gateway.networking.k8s.io/v1", "HTTPRoute", "namespace: shop, name: r",
                      "spec: {parentRefs: [{group: '', kind: Service, name: web}], rules: "
                      "[{backendRefs: [{name: gone, port: 80}]}]}"),
       "Error IST0101 HTTPRoute shop/r", "backendRef shop/gone:80 is not found"},
  };
}

TEST(AnalyzeRoutes, FindsWhatIsWrong) {
  for (const Row& row : rows_of_routes()) {
    SCOPED_TRACE(row.name);
    const std::vector<Finding> findings = analyze_text(row.yaml);
    if (row.head.empty()) {
      EXPECT_THAT(heads(findings), IsEmpty());
      continue;
    }
    ASSERT_THAT(heads(findings), ElementsAre(row.head));
    EXPECT_THAT(findings.front().message, HasSubstr(row.message));
  }
}

TEST(AnalyzeRoutes, VirtualServicesForOneHost) {
  const std::string rule = "{route: [{destination: {host: web}}]}";
  EXPECT_THAT(
      heads(analyze_text(shop_at_waypoint() + routes(rule) + routes(rule, "w"))),
      ElementsAre("Error IST0109 VirtualService shop/v", "Error IST0109 VirtualService shop/w"));
}

}  // namespace
}  // namespace weft::analyze
