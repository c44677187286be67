#pragma once

#include "proto/route.pb.h"
#include "tests/unit/agent/compile/manifests.h"

#include <google/protobuf/util/json_util.h>

#include <string>

// A namespace "shop" whose services are behind the waypoint "wp", and rules about them.
namespace weft::l7 {

using compile::changes_of;
using compile::Compiler;
using compile::removal;
using compile::Resource;
using compile::steps;

inline std::string meta(const std::string& ns, const std::string& name, int year = 2026) {
  return "metadata: {namespace: " + ns + ", name: " + name + ", creationTimestamp: \"" +
         std::to_string(year) + "-01-01T00:00:00Z\"}\n";
}

inline std::string shop_namespace(const std::string& labels = "istio.io/use-waypoint: wp") {
  return "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {" + labels + "}}\n";
}

inline std::string service(const std::string& ns, const std::string& name,
                           const std::string& ports = "{name: http, port: 80}",
                           const std::string& selector = "") {
  return "---\napiVersion: v1\nkind: Service\n" + meta(ns, name) + "spec: {selector: {" +
         (selector.empty() ? "app: " + name : selector) + "}, clusterIP: 10.96.0.1, ports: [" +
         ports + "]}\n";
}

inline std::string istio(const std::string& kind, const std::string& ns, const std::string& name,
                         const std::string& spec, int year = 2026) {
  return "---\napiVersion: networking.istio.io/v1\nkind: " + kind + "\n" + meta(ns, name, year) +
         "spec: " + spec + "\n";
}

inline std::string virtual_service(const std::string& name, const std::string& spec,
                                   int year = 2026) {
  return istio("VirtualService", "shop", name, spec, year);
}

// What the waypoint is told of the service.
inline weft::route::Routes routes_of(const Compiler& compiler, const std::string& name = "web",
                                     const std::string& ns = "shop",
                                     const std::string& waypoint = "shop/wp") {
  weft::route::Routes routes;
  const std::string resource = waypoint + "/" + ns + "/" + name +
                               (name.contains('.') ? "" : "." + ns + ".svc.cluster.local");
  for (const Resource& one : compiler.all()) {
    if (one.type == "weft.route.Routes" && one.name == resource) {
      EXPECT_TRUE(routes.ParseFromString(one.bytes));
    }
  }
  return routes;
}

inline std::string to_json(const google::protobuf::Message& message) {
  std::string text;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(message, &text).ok());
  return text;
}

// The services "web" and "api" of the shop behind its waypoint, and the manifests besides.
struct Shop : Compiler {
  explicit Shop(const std::string& manifests) : Compiler({}) {
    apply(
        changes_of(shop_namespace() + service("shop", "web") + service("shop", "api") + manifests));
  }
};

// The only HTTP route of "web" that these http rules of a VirtualService make, as JSON without what
// every route has.
inline std::string compiled_rule(const std::string& rule) {
  const Shop compiler(virtual_service("vs", "{hosts: [web], http: [" + rule + "]}"));
  weft::route::Routes routes = routes_of(compiler);
  if (routes.ports_size() != 1 || routes.ports(0).http_size() != 1) {
    return "not one route: " + to_json(routes);
  }
  weft::route::HttpRoute& route = *routes.mutable_ports(0)->mutable_http(0);
  if (route.origin() == "VirtualService shop/vs") route.clear_origin();
  return to_json(route);
}

}  // namespace weft::l7
