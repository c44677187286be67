#include "agent/cni/chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::cni {
namespace {

using testing::HasSubstr;

const PluginEntry kEntry{.socket = "/run/weft/cni.sock",
                         .exclude_namespaces = {"kube-system", "weft-system"}};
constexpr const char* kOurs = R"({"type":"weft-cni","socket":"/run/weft/cni.sock",)"
                              R"("excludeNamespaces":["kube-system","weft-system"]})";

TEST(CniChain, ListKeepsAllThatItSaysAndGetsOnePluginMore) {
  const auto text = chained_text(R"({"cniVersion": "1.0.0", "name": "k8s-pod-network",
    "disableCheck": true, "strange": {"a": [1, 2.5, null, "\u00e9"]},
    "plugins": [{"type": "calico", "mtu": 1440, "policy": {"type": "k8s"}},
                {"type": "portmap", "capabilities": {"portMappings": true}}]})",
                                 kEntry);
  ASSERT_TRUE(text) << text.error().to_string();
  EXPECT_EQ(*text, R"({"cniVersion":"1.0.0","name":"k8s-pod-network","disableCheck":true,)"
                   "\"strange\":{\"a\":[1,2.5,null,\"\u00e9\"]},"
                   R"("plugins":[{"type":"calico","mtu":1440,"policy":{"type":"k8s"}},)"
                   R"({"type":"portmap","capabilities":{"portMappings":true}},)" +
                       std::string(kOurs) + "]}\n");
  EXPECT_TRUE(is_chained(*text));
}

TEST(CniChain, SinglePluginBecomesAList) {
  const auto text =
      chained_text(R"({"cniVersion":"0.3.1","name":"kn","type":"bridge","ipam":{}})", kEntry);
  ASSERT_TRUE(text) << text.error().to_string();
  EXPECT_EQ(*text, R"({"cniVersion":"0.3.1","name":"kn","plugins":[)"
                   R"({"cniVersion":"0.3.1","name":"kn","type":"bridge","ipam":{}},)" +
                       std::string(kOurs) + "]}\n");
}

TEST(CniChain, WhatCannotBeChainedIsSaid) {
  const std::vector<std::pair<std::string, std::string>> table{
      {"", "not JSON"},
      {"{\"cniVersion\":\"1.0.0\",", "not JSON"},
      {"[]", "expected an object"},
      {R"({"cniVersion":"1.0.0","name":"a","plugins":[]})", "plugins: expected"},
      {R"({"cniVersion":"1.0.0","name":"a","plugins":{}})", "plugins: expected"},
      {R"({"cniVersion":"1.0.0","name":"a","plugins":[{}]})", "one has no type"},
      {R"({"cniVersion":"1.0.0","name":"a"})", "one has no type"},
      {R"({"cniVersion":"1.0.0","plugins":[{"type":"x"}]})", "name: expected"},
      {R"({"name":"a","plugins":[{"type":"x"}]})", "cniVersion \"\""},
      {R"({"cniVersion":"0.2.0","name":"a","plugins":[{"type":"x"}]})", "cniVersion \"0.2.0\""},
      {R"({"cniVersion":"1.0.0","name":"a","plugins":[{"type":"x"},{"type":"weft-cni"}]})",
       "has weft-cni already"},
  };
  for (const auto& [text, expected] : table) {
    const auto chained = chained_text(text, kEntry);
    ASSERT_FALSE(chained) << text;
    EXPECT_THAT(chained.error().to_string(), HasSubstr(expected)) << text;
  }
  EXPECT_FALSE(is_chained("x"));
  EXPECT_FALSE(is_chained("{}"));
  EXPECT_FALSE(is_chained(R"({"plugins":[{"type":"weft-cni"},{"type":"x"}]})"));
}

// A runtime sorts names by bytes and takes the first.
TEST(CniChain, OurFileStandsRightBeforeThePrimarys) {
  for (const char* primary : {"10-kn.conflist", "10-kn.conf", "05-cilium.conflist", "00-a.json",
                              "a.b.conf", "10-kn-x.conflist", "-.conf"}) {
    const std::string ours = chained_name(primary);
    EXPECT_LT(ours, primary);
    EXPECT_TRUE(is_conf_name(ours));
    EXPECT_TRUE(is_our_name(ours));
    EXPECT_EQ(primary_of({ours, primary, "z.conf"}), primary);
  }
  EXPECT_EQ(primary_of({"20-b.conf", "10-a.conflist.bak", "README", "15-c.json"}), "15-c.json");
  EXPECT_EQ(primary_of({"10-a-weft.conflist"}), "");
  EXPECT_EQ(primary_of({}), "");
}

}  // namespace
}  // namespace weft::cni
