#include "agent/objects/mesh_config.h"
#include "agent/objects/object.h"
#include "proto/crd/networking.pb.h"

#include <gmock/gmock.h>

namespace weft::objects {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> mistakes(const std::string& text) {
  std::vector<std::string> messages;
  for (const Error& error : parse_manifests(text, "file.yaml").errors) {
    messages.push_back(error.message);
  }
  return messages;
}

std::string of(const std::string& kind, const std::string& spec,
               const std::string& version = "networking.istio.io/v1") {
  return "apiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: x}\nspec: {" + spec +
         "}\n";
}

TEST(Networking, EveryVersionIsServed) {
  for (const char* version : {"v1", "v1beta1", "v1alpha3"}) {
    const std::string api = std::string("networking.istio.io/") + version;
    EXPECT_THAT(mistakes(of("ServiceEntry", "hosts: [a.example.org]", api)), IsEmpty());
    EXPECT_THAT(mistakes(of("WorkloadEntry", "address: 10.0.0.1", api)), IsEmpty());
    EXPECT_THAT(mistakes(of("WorkloadGroup", "template: {serviceAccount: a}", api)), IsEmpty());
    EXPECT_THAT(mistakes(of("Sidecar", "outboundTrafficPolicy: {mode: ALLOW_ANY}", api)),
                IsEmpty());
  }
}

// Each mistake names the object and the field, and what was expected.
TEST(Networking, MistakesOfServiceEntries) {
  const std::string port = "ports: [{number: 80, name: http}], ";
  const std::pair<std::string, std::string> kRows[] = {
      {"hosts: []", "spec.hosts: must not be empty"},
      {"hosts: [\"*\"]", "spec.hosts[0]: expected a host name: \"*\" alone"},
      {"hosts: [a.*.org]", "spec.hosts[0]: as a host name"},
      {"hosts: [10.0.0.1]", "IP addresses belong in addresses"},
      {"hosts: [a.org], addresses: [10.0.0]", "spec.addresses[0]: expected an IP address or CIDR"},
      {"hosts: [a.org], addresses: [10.0.0.0/8], resolution: DNS",
       "spec.addresses[0]: expected an IP address: a CIDR goes only with"},
      {"hosts: [a.org], resolution: STATC",
       "spec.resolution: unknown value \"STATC\" (did you mean STATIC?)"},
      {"hosts: [a.org], location: MESH", "spec.location: unknown value"},
      {"hosts: [a.org], ports: [{number: 0, name: a}]",
       "spec.ports[0].number: expected a port from 1 to 65535, got 0"},
      {"hosts: [a.org], ports: [{number: 80}]", "spec.ports[0].name: missing"},
      {"hosts: [a.org], ports: [{number: 80, name: a}, {number: 80, name: b}]",
       "spec.ports[1].number: 80 is another port of it too"},
      {"hosts: [a.org], ports: [{number: 80, name: a}, {number: 81, name: a}]",
       "spec.ports[1].name: \"a\" is the name of another port too"},
      {"hosts: [a.org], ports: [{number: 80, name: a, protocol: HTPS}]",
       "spec.ports[0].protocol: unknown protocol \"HTPS\" (did you mean HTTPS?)"},
      {"hosts: [a.org], ports: [{number: 80, name: a, targetPort: 70000}]",
       "spec.ports[0].targetPort: expected a port"},
      {"hosts: [a.org], resolution: NONE, endpoints: [{address: 10.0.0.1}]",
       "spec.endpoints: expected none with the resolution NONE: did you mean STATIC or DNS?"},
      {"hosts: [a.org], resolution: STATIC, endpoints: [{address: b.org}]",
       "spec.endpoints[0].address: expected an IP address with the resolution STATIC"},
      {"hosts: [a.org], resolution: STATIC, endpoints: [{labels: {a: b}}]",
       "spec.endpoints[0].address: missing"},
      {"hosts: [a.org], resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {a: 0}}]",
       "spec.endpoints[0].ports[a]: expected a port"},
      {"hosts: [a.org], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: "
       "[{address: 10.0.0.1}]",
       "spec.endpoints: cannot stand beside workloadSelector"},
      {"hosts: [a.org], workloadSelector: {}", "spec.workloadSelector: expected labels"},
      {"hosts: [\"*.a.org\"], resolution: DNS", "spec.hosts[0]: expected a whole name"},
      {"hosts: [a.org], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.org}, {address: "
       "c.org}]",
       "spec.endpoints: expected at most one"},
      {"hosts: [a.org], exportTo: [Shop]", "spec.exportTo[0]: expected"},
      {"hosts: [a.org], adresses: []", "spec.adresses: unknown field (did you mean addresses?)"},
  };
  for (const auto& [spec, expected] : kRows) {
    EXPECT_THAT(mistakes(of("ServiceEntry", spec)),
                ElementsAre(HasSubstr("ServiceEntry/default/x: ")))
        << spec;
    EXPECT_THAT(mistakes(of("ServiceEntry", spec)), ElementsAre(HasSubstr(expected))) << spec;
  }
  EXPECT_THAT(mistakes(of("ServiceEntry", "hosts: [A.org., \"*.b.org\"], " + port +
                                              "addresses: [10.0.0.0/8, \"fd00::/8\"]")),
              IsEmpty());
}

TEST(Networking, MistakesOfWorkloadEntries) {
  EXPECT_THAT(mistakes(of("WorkloadEntry", "labels: {a: b}")),
              ElementsAre(HasSubstr("spec.address: missing")));
  EXPECT_THAT(
      mistakes(of("WorkloadEntry", "address: \"a b\"")),
      ElementsAre(HasSubstr("spec.address: expected an IP address, a host name or unix://")));
  EXPECT_THAT(mistakes(of("WorkloadEntry", "network: far")), IsEmpty());
  EXPECT_THAT(mistakes(of("WorkloadEntry", "address: \"unix:///a/b\"")), IsEmpty());
}

TEST(Networking, MistakesOfEndpointSlices) {
  const std::string head =
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\n";
  EXPECT_THAT(mistakes(head), ElementsAre(HasSubstr("addressType: missing")));
  EXPECT_THAT(mistakes(head + "addressType: IPv4\nendpoints: [{addresses: [\"fd00::1\"]}]\n"),
              ElementsAre(HasSubstr("endpoints[0].addresses[0]: expected an IPv4 address")));
  EXPECT_THAT(mistakes(head + "addressType: IPv4\nports: [{port: 70000}]\n"),
              ElementsAre(HasSubstr("ports[0].port: expected a port")));
}

TEST(Networking, MistakesOfServices) {
  const auto service = [](const std::string& spec) {
    return mistakes(
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: "
        "80}], " +
        spec + "}\n");
  };
  EXPECT_THAT(service("sessionAffinity: ClientIp"), ElementsAre(HasSubstr("mean ClientIP?")));
  EXPECT_THAT(service("trafficDistribution: Near"), ElementsAre(HasSubstr("PreferSameZone")));
  EXPECT_THAT(service("internalTrafficPolicy: local"), ElementsAre(HasSubstr("mean Local?")));
  EXPECT_THAT(
      service("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 0}}"),
      ElementsAre(HasSubstr("timeoutSeconds: expected 1 to 86400 seconds, got 0")));
  EXPECT_THAT(service("sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}"),
              ElementsAre(HasSubstr("expected only with sessionAffinity: ClientIP")));
}

std::string config_map(const std::string& mesh, const std::string& name = "istio") {
  std::string text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name +
                     ", namespace: istio-system}\ndata:\n  mesh: |-\n";
  return text + "    " + mesh + "\n";
}

TEST(MeshConfig, IsReadFromItsConfigMap) {
  const Parsed parsed = parse_manifests(
      config_map("{trustDomain: corp, trustDomainAliases: [old], outboundTrafficPolicy: {mode: "
                 "REGISTRY_ONLY}, defaultConfig: {x: [1]}, enableAutoMtls: true}"),
      "file.yaml");
  ASSERT_EQ(parsed.objects.size(), 1u);
  const auto config = mesh_config_of(*parsed.objects[0]->as<crd::core::ConfigMap>());
  EXPECT_EQ(config.trustdomain(), "corp");
  EXPECT_EQ(config.trustdomainaliases(0), "old");
  EXPECT_TRUE(config.has_outboundtrafficpolicy());
  EXPECT_EQ(config.outboundtrafficpolicy().mode(),
            crd::networking::OutboundTrafficPolicy::REGISTRY_ONLY);
  EXPECT_FALSE(mesh_config_of(crd::core::ConfigMap()).has_outboundtrafficpolicy());
}

TEST(MeshConfig, MistakesAreTheConfigMaps) {
  const std::pair<std::string, std::string> kRows[] = {
      {"outboundTrafficPolcy: {}", "unknown field (did you mean outboundTrafficPolicy?)"},
      {"outboundTrafficPolicy: {mode: REGISTRYONLY}", "(did you mean REGISTRY_ONLY?)"},
      {"trustDomain: a/b", "data.mesh.trustDomain: expected letters"},
      {"trustDomainAliases: [a, \"b c\"]", "data.mesh.trustDomainAliases[1]: expected letters"},
      {"[1, 2]", "expected a map, got a list"},
      {"a: [", "data.mesh: line"},
      {"trustDomain: a\n    ---\n    trustDomain: b", "expected one YAML document, got 2"},
  };
  for (const auto& [mesh, expected] : kRows) {
    EXPECT_THAT(mistakes(config_map(mesh)),
                ElementsAre(testing::AllOf(HasSubstr("ConfigMap/istio-system/istio: data"),
                                           HasSubstr(expected))))
        << mesh;
    EXPECT_THAT(mistakes(config_map(mesh, "mine")), IsEmpty()) << "of whoever's it is";
  }
  EXPECT_THAT(mistakes(config_map("")), IsEmpty());
}

}  // namespace
}  // namespace weft::objects
