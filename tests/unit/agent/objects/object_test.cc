#include "agent/objects/object.h"

#include "agent/objects/kinds.h"
#include "agent/objects/names.h"
#include "agent/objects/reader.h"
#include "proto/crd/gateway_api.pb.h"
#include "proto/crd/networking.pb.h"
#include "proto/crd/opaque.pb.h"
#include "proto/crd/security.pb.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace weft::objects {
namespace {

using google::protobuf::util::MessageDifferencer;

std::shared_ptr<const Object> one(std::string_view text, std::string_view origin = "x.yaml") {
  Parsed parsed = parse_manifests(text, origin);
  for (const Error& error : parsed.errors) ADD_FAILURE() << error.to_string();
  EXPECT_EQ(parsed.objects.size(), 1u);
  return parsed.objects.empty() ? nullptr : parsed.objects[0];
}

constexpr const char* kPod = R"(
apiVersion: v1
kind: Pod
metadata:
  name: web
  uid: 8a1c
  creationTimestamp: null
  labels: {app: web, version: "1"}
  annotations: {note: "a: b #c\n\"quoted\""}
spec:
  nodeName: node-1
  hostNetwork: false
  terminationGracePeriodSeconds: 30
  nodeSelector: {}
  containers:
  - name: c
    image: shop/web:1
    command: [serve, --port, "8080"]
    env: [{name: EMPTY, value: ""}, {name: FROM, valueFrom: {configMapKeyRef: {name: m, key: k}}}]
    resources: {limits: {cpu: 500m, memory: 64Mi}}
    ports: [{containerPort: 8080, name: http}]
status:
  phase: Running
  podIP: 10.1.2.3
  podIPs: [{ip: 10.1.2.3}, {ip: fd00::3}]
)";

TEST(Objects, AreTyped) {
  const auto object = one(kPod);
  ASSERT_NE(object, nullptr);
  const auto* pod = object->as<crd::core::Pod>();
  ASSERT_NE(pod, nullptr);
  EXPECT_EQ(object->as<crd::core::Service>(), nullptr);
  EXPECT_EQ(object->key(), (Key{"Pod", "default", "web"}));
  EXPECT_EQ(object->key().to_string(), "Pod/default/web");
  EXPECT_EQ(pod->metadata().labels().at("version"), "1");
  EXPECT_EQ(pod->metadata().creationtimestamp(), "");
  EXPECT_EQ(pod->spec().containers(0).command(2), "8080");
  EXPECT_EQ(pod->spec().containers(0).ports(0).containerport(), 8080u);
  EXPECT_EQ(pod->status().podips(1).ip(), "fd00::3");
  EXPECT_EQ(pod->spec().terminationgraceperiodseconds().number_value(), 30);
}

TEST(Objects, GoRoundThroughJsonAndYaml) {
  std::vector<std::string> texts = {
      kPod,
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n"
      "data: {k: \"true\", \"multi\": \"a\\n b\\n\"}\n",
      "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n"
      "spec: {rules: [{}], selector: {}}\n",
      "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\n"
      "spec: {selector: {matchLabels: {app: web}}, mtls: {}, portLevelMtls: {443: {mode: STRICT}, "
      "80: "
      "{}}}\n",
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\n"
      "spec: {http: [{timeout: 3s, retries: {attempts: 2}, mirrorPercentage: {value: 0.5}, fault: "
      "null}]}\n",
      "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ntype: Opaque\nstringData: {a: b}\n"
      "immutable: true\nrest: {x: 1}\n",
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n"
      "spec: {replicas: 0, selector: {matchLabels: {app: web}}, template: {metadata: {labels: "
      "{app: web}}, "
      "spec: {containers: [{name: c}]}}}\n"};
  for (const std::string& text : texts) {
    const auto object = one(text);
    ASSERT_NE(object, nullptr) << text;
    const auto from_json = one(to_json(*object), "x.json");
    const auto from_yaml = one(to_yaml(*object));
    ASSERT_NE(from_json, nullptr) << to_json(*object);
    ASSERT_NE(from_yaml, nullptr) << to_yaml(*object);
    EXPECT_TRUE(MessageDifferencer::Equals(object->message(), from_json->message()))
        << to_json(*object);
    EXPECT_TRUE(MessageDifferencer::Equals(object->message(), from_yaml->message()))
        << to_yaml(*object);
    EXPECT_EQ(object->api_version(), from_json->api_version());
    EXPECT_EQ(to_json(*object), to_json(*from_yaml));
  }
}

TEST(Objects, AbsentAndZeroDiffer) {
  const char* before =
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n"
      "  selector: {matchLabels: {app: web}}\n"
      "  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}\n";
  const auto absent = one(before);
  const auto zero = one(std::string(before) + "  replicas: 0\n");
  ASSERT_TRUE(absent && zero);
  EXPECT_FALSE(absent->as<crd::core::Deployment>()->spec().has_replicas());
  EXPECT_TRUE(zero->as<crd::core::Deployment>()->spec().has_replicas());
  EXPECT_THAT(to_json(*zero), testing::HasSubstr("\"replicas\":0"));
}

TEST(Objects, ListsAreExpanded) {
  const char* list =
      "apiVersion: v1\nkind: List\nmetadata: {resourceVersion: \"\"}\nitems:\n"
      "- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n"
      "- {apiVersion: v1, kind: Namespace, metadata: {name: B}}\n"
      "- {apiVersion: v1, kind: Thing, metadata: {name: c}}\n";
  const Parsed parsed = parse_manifests(list, "x.yaml");
  ASSERT_EQ(parsed.objects.size(), 1u);
  ASSERT_EQ(parsed.errors.size(), 2u);
  EXPECT_THAT(parsed.errors[0].message, testing::HasSubstr("Namespace/B: metadata.name: "));
  EXPECT_EQ(parsed.errors[1].message,
            "x.yaml: line 1: List: items[2]: \"c\": kind: unknown kind \"Thing\" of v1");
  EXPECT_EQ(parse_manifests("{apiVersion: v1, kind: List}", "x.yaml").errors[0].message,
            "x.yaml: line 1: List: items: expected a list");
}

TEST(Objects, FlowStyleYamlIsNotTakenForBrokenJson) {
  EXPECT_NE(one("{apiVersion: v1, kind: Namespace, metadata: {name: a}}"), nullptr);
  EXPECT_NE(one(R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}})"), nullptr);
}

TEST(Objects, KindsOfTwoGroupsHaveTwoKeys) {
  const auto istio =
      one("apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\n");
  const auto api =
      one("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\n"
          "spec:\n  gatewayClassName: istio-waypoint\n  other: of a newer version\n"
          "  listeners: [{name: mesh, port: 15008, protocol: HBONE}]\n");
  ASSERT_TRUE(istio && api);
  EXPECT_EQ(istio->kind(), "Gateway");
  EXPECT_NE(istio->key(), api->key());
  EXPECT_NE(istio->as<crd::networking::Gateway>(), nullptr);
  ASSERT_NE(api->as<crd::gateway_api::Gateway>(), nullptr);
  EXPECT_EQ(api->as<crd::gateway_api::Gateway>()->spec().listeners(0).port(), 15008U);
}

TEST(Objects, EveryKnownKindLoads) {
  for (const Kind& kind : kinds()) {
    for (const std::string_view version : kind.versions) {
      const auto found = find_kind(kind.api_version(version), kind.name);
      ASSERT_TRUE(found) << kind.name;
      EXPECT_EQ((*found)->key_name, kind.key_name);
    }
    EXPECT_NE(kind.prototype->GetDescriptor()->FindFieldByName("metadata"), nullptr) << kind.name;
  }
}

TEST(Reader, WrappersTakeThePlainValue) {
  google::protobuf::UInt32Value number;
  Report report("x");
  read_message(Tree::of(int64_t{7}), number, report);
  EXPECT_TRUE(report.empty());
  EXPECT_EQ(number.value(), 7u);
  read_message(Tree::of(std::string("7")), number, report);
  EXPECT_FALSE(report.empty());
  EXPECT_EQ(write_json(write_message(number)), "7");
}

TEST(Names, Times) {
  EXPECT_EQ(parse_time("1970-01-02T00:00:01Z"), 86401);
  EXPECT_EQ(parse_time("1970-01-01T01:00:00+01:00"), 0);
  EXPECT_EQ(parse_time("2024-02-29T00:00:00.123456Z"), 1709164800);
  for (const char* text : {"", "1970", "1970-01-01", "2023-02-29T00:00:00Z", "1970-01-01T24:00:00Z",
                           "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00Zx",
                           "1970-+1-01T00:00:00Z", "-970-01-01T00:00:00Z"}) {
    EXPECT_EQ(parse_time(text), std::nullopt) << text;
  }
}

TEST(Names, Shapes) {
  for (const char* name : {"a", "a-1", "1a"}) EXPECT_EQ(wrong_with_label_name(name), "") << name;
  for (const char* name : {"", "A", "-a", "a-", "a.b", "a_b", "a/b"}) {
    EXPECT_NE(wrong_with_label_name(name), "") << name;
  }
  EXPECT_NE(wrong_with_label_name(std::string(64, 'a')), "");
  EXPECT_NE(wrong_with_dns_label("1a"), "");
  for (const char* name : {"a.b-c.1", "a"}) EXPECT_EQ(wrong_with_subdomain(name), "") << name;
  for (const char* name : {"", ".", "a.", ".a", "a..b", "a.-b", "A"}) {
    EXPECT_NE(wrong_with_subdomain(name), "") << name;
  }
  EXPECT_EQ(wrong_with_port_name("http-8080"), "");
  for (const char* name : {"8080", "a--b", "sixteen-letters-", "Http", ""}) {
    EXPECT_NE(wrong_with_port_name(name), "") << name;
  }
  EXPECT_EQ(wrong_with_label_key("app.kubernetes.io/name"), "");
  for (const char* key : {"", "/a", "a/", "A/b/c", "a b"}) {
    EXPECT_NE(wrong_with_label_key(key), "") << key;
  }
  EXPECT_EQ(parse_port("65535"), 65535);
  for (const char* text : {"", "0", "65536", "-1", "+1", " 1", "1 ", "http"}) {
    EXPECT_EQ(parse_port(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace weft::objects
