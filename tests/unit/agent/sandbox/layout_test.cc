#include "agent/sandbox/layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

TEST(Layout, NamesThatCannotBeASandboxes) {
  for (const char* name : {"", "a-b", "A", "a/b", "..", "a b", "abcdefghijklmnopqrstu"}) {
    const auto layout = Layout::make(name);
    ASSERT_FALSE(layout) << name;
    EXPECT_EQ(layout.error().code, Code::kInvalid);
  }
}

TEST(Layout, NodesHaveNumbers) {
  EXPECT_EQ(node_index(node_name(1)), 1);
  EXPECT_EQ(node_index(node_name(kNodesMax)), kNodesMax);
  for (const char* name : {"node-0", "node-17", "node-", "node-1x", "node--1", "x", ""}) {
    EXPECT_EQ(node_index(name), 0) << name;
  }
}

TEST(Layout, APodsNamespaceIsAFileName) {
  const auto layout = Layout::make("t");
  if (!layout) GTEST_SKIP() << layout.error().to_string();
  crd::core::Pod pod;
  pod.mutable_metadata()->set_name("web");
  pod.mutable_metadata()->set_namespace_("shop");
  pod.mutable_metadata()->set_uid("u1");
  EXPECT_EQ(layout->pod_netns(pod), "weft-t-pod-shop-web");
  pod.mutable_metadata()->set_name(std::string(253, 'x'));
  EXPECT_EQ(layout->pod_netns(pod), "weft-t-pod-u1");
}

}  // namespace
}  // namespace weft::sandbox
