#include "agent/cli/cluster.h"

#include <gmock/gmock.h>

namespace weft::cli {
namespace {

using objects::parse_json;
using objects::Tree;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Cluster, ComponentsOfADeploymentAndADaemonSet) {
  const auto deployments = parse_json(R"({"items":[{"metadata":{"name":"weft-control",
      "namespace":"istio-system","labels":{"app.kubernetes.io/version":"0.1.0"}},
      "spec":{"replicas":2,"template":{"spec":{"containers":[{"image":"weft-agent:0.1.0"}]}}},
      "status":{"readyReplicas":1,"updatedReplicas":2}}]})");
  const auto sets =
      parse_json(R"({"items":[{"metadata":{"name":"weft-agent","namespace":"istio-system"},
      "status":{"desiredNumberScheduled":3,"numberReady":3,"updatedNumberScheduled":3}}]})");
  std::vector<Component> all = components_in(*deployments, "Deployment");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_FALSE(all[0].is_ready());
  EXPECT_EQ(all[0].image, "weft-agent:0.1.0");
  all.push_back(components_in(*sets, "DaemonSet").front());
  EXPECT_TRUE(all[1].is_ready());
  EXPECT_EQ(components_table(all),
            "COMPONENT      NAMESPACE      READY   VERSION   IMAGE\n"
            "weft-control   istio-system   1/2     0.1.0     weft-agent:0.1.0\n"
            "weft-agent     istio-system   3/3     -         \n");
}

TEST(Cluster, WhatIsNoAnswerHasNoComponents) {
  EXPECT_THAT(components_in(Tree(), "Deployment"), IsEmpty());
  EXPECT_THAT(components_in(*parse_json(R"({"items":[1,null,{}]})"), "DaemonSet").size(), 3U);
}

std::vector<std::string> words(const std::string& version, const std::string& nodes,
                               const std::string& istiods) {
  std::vector<std::string> all;
  for (const Verdict& verdict :
       judge_cluster(*parse_json(version), *parse_json(nodes), *parse_json(istiods))) {
    all.push_back((verdict.is_fatal ? "error: " : "note: ") + verdict.what);
  }
  return all;
}

TEST(Cluster, IsJudged) {
  const std::string node = R"({"items":[{"metadata":{"name":"n"},"status":{"nodeInfo":)"
                           R"({"kernelVersion":"KERNEL","operatingSystem":"linux"}}}]})";
  const auto with = [&](const char* kernel) {
    std::string text = node;
    return text.replace(text.find("KERNEL"), 6, kernel);
  };
  const std::string good = R"({"major":"1","minor":"28+","gitVersion":"v1.28.3-eks"})";
  const std::string none = R"({"items":[]})";
  EXPECT_THAT(words(good, with("6.1.0-13-amd64"), none), IsEmpty());
  EXPECT_THAT(words(good, with("5.17.0"), none), IsEmpty());
  EXPECT_THAT(words(good, with("5.15.0-76-generic"), none),
              testing::ElementsAre(HasSubstr("error: node n (5.15.0-76-generic)")));
  EXPECT_THAT(words(R"({"major":"1","minor":"27","gitVersion":"v1.27.1"})", none, none),
              testing::ElementsAre(HasSubstr("error: Kubernetes v1.27.1 is older than 1.28")));
  EXPECT_THAT(words(good, none, R"({"items":[{"metadata":{"namespace":"istio-system"}}]})"),
              testing::ElementsAre(HasSubstr("note: Istio's control plane is in namespace")));
}

}  // namespace
}  // namespace weft::cli
