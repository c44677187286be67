#include "agent/sandbox/environment.h"

#include "tests/unit/agent/sandbox/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const Images kImages = {{"shop/users:1.0", {"python3", "users.py"}}};

Result<Execution> resolve(const std::string& container_yaml) {
  const auto pod = parse_one<crd::core::Pod>(
      "apiVersion: v1\nkind: Pod\n"
      "metadata: {name: web, namespace: shop, uid: u1, labels: {tier: front}}\n"
      "spec: {nodeName: node-1, containers: [" +
      container_yaml + "]}\nstatus: {podIP: 10.244.1.3}\n");
  const auto map = parse_one<crd::core::ConfigMap>(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: shop}\n"
      "data: {colour: green, size: large}\n");
  return resolve_execution(
      *pod, pod->spec().containers(0), kImages, "images.yaml",
      [&](const std::string& name) { return name == "settings" ? map.get() : nullptr; });
}

TEST(Environment, AnImageIsAnEntryPoint) {
  const auto plain = resolve("{name: c, image: 'shop/users:1.0', args: [--port, '80']}");
  ASSERT_TRUE(plain);
  EXPECT_THAT(plain->argv, ElementsAre("python3", "users.py", "--port", "80"));
  const auto replaced = resolve("{name: c, image: none, command: [sleep], args: ['1']}");
  ASSERT_TRUE(replaced);
  EXPECT_THAT(replaced->argv, ElementsAre("sleep", "1"));
}

TEST(Environment, AnImageThatStandsForNothingIsNamedWithTheFile) {
  const auto missing = resolve("{name: c, image: 'shop/other:1.0'}");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  EXPECT_THAT(missing.error().to_string(), HasSubstr("shop/other:1.0"));
  EXPECT_THAT(missing.error().to_string(), HasSubstr("images.yaml"));
}

TEST(Environment, ValuesReferencesAndFields) {
  const auto got = resolve(
      "{name: c, image: none, command: [sh, -c, 'echo $(BOTH) $(UNKNOWN) $$(A)'], workingDir: /srv,"
      " envFrom: [{prefix: P_, configMapRef: {name: settings}}],"
      " env: [{name: A, value: one}, {name: BOTH, value: '$(A)-$(C)'},"
      " {name: C, valueFrom: {configMapKeyRef: {name: settings, key: colour}}},"
      " {name: D, value: '$(A)-$(C)'},"
      " {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}},"
      " {name: T, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['tier']\"}}}]}");
  ASSERT_TRUE(got) << got.error().to_string();
  // A reference sees what stands before it.
  EXPECT_THAT(got->env, Contains("BOTH=one-$(C)"));
  EXPECT_THAT(got->env, Contains("D=one-green"));
  EXPECT_THAT(got->env, Contains("P_size=large"));
  EXPECT_THAT(got->env, Contains("IP=10.244.1.3"));
  EXPECT_THAT(got->env, Contains("T=front"));
  EXPECT_THAT(got->env, Contains("HOSTNAME=web"));
  EXPECT_EQ(got->argv[2], "echo one-$(C) $(UNKNOWN) $(A)");
  EXPECT_EQ(got->cwd, "/srv");
}

TEST(Environment, WhatIsMissingIsAnErrorUnlessOptional) {
  const std::string key =
      "{name: c, image: none, command: [x], env: [{name: A, valueFrom: "
      "{configMapKeyRef: {name: settings, key: nope";
  EXPECT_FALSE(resolve(key + "}}}]}"));
  const auto optional = resolve(key + ", optional: true}}}]}");
  ASSERT_TRUE(optional);
  EXPECT_THAT(optional->env, Not(Contains(testing::StartsWith("A="))));
  EXPECT_FALSE(
      resolve("{name: c, image: none, command: [x], envFrom: [{configMapRef: {name: nobody}}]}"));
  const auto secret = resolve(
      "{name: c, image: none, command: [x], env: [{name: A, valueFrom: {secretKeyRef: {name: s, "
      "key: "
      "k}}}]}");
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace weft::sandbox
