#include "agent/sandbox/planner.h"

#include "tests/unit/agent/sandbox/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::shared_ptr<crd::core::Deployment> deployment(uint32_t replicas) {
  const ObjectPtr object = parse(
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: default, uid: d1}\n"
      "spec:\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: "
      "web}}\n"
      "    spec: {containers: [{name: c, image: i}]}\n")[0];
  auto copy = copy_of<crd::core::Deployment>(*object);
  copy->mutable_spec()->set_replicas(replicas);
  return copy;
}

std::function<std::string()> counter() {
  return [number = 0]() mutable { return "aaaa" + std::to_string(number++); };
}

PodPtr owned(const std::string& name, const std::string& hash, bool ready = true) {
  return make_pod({.name = name, .ready = ready, .owner_uid = "d1", .hash = hash});
}

TEST(Planner, MakesWhatIsMissing) {
  const DeploymentPlan plan = plan_deployment(*deployment(2), {}, counter());
  ASSERT_THAT(plan.create, SizeIs(2));
  const auto& pod = *plan.create[0];
  const std::string hash = template_hash(deployment(2)->spec().template_());
  EXPECT_EQ(pod.metadata().name(), "web-" + hash + "-aaaa0");
  EXPECT_EQ(pod.metadata().labels().at("app"), "web");
  EXPECT_EQ(pod.metadata().ownerreferences(0).uid(), "d1");
  EXPECT_FALSE(pod.metadata().uid().empty());
  EXPECT_NE(pod.metadata().uid(), plan.create[1]->metadata().uid());
  EXPECT_THAT(plan.remove, IsEmpty());
}

TEST(Planner, ChangesNothingThatIsAsWanted) {
  const std::string hash = template_hash(deployment(1)->spec().template_());
  const DeploymentPlan plan = plan_deployment(*deployment(1), {owned("a", hash)}, counter());
  EXPECT_THAT(plan.create, IsEmpty());
  EXPECT_THAT(plan.remove, IsEmpty());
}

TEST(Planner, RemovesTheUnreadyFirst) {
  const std::string hash = template_hash(deployment(1)->spec().template_());
  const PodPtr unready = owned("a", hash, false);
  const DeploymentPlan plan =
      plan_deployment(*deployment(1), {unready, owned("b", hash)}, counter());
  EXPECT_THAT(plan.remove, ElementsAre(unready));
}

TEST(Planner, OldPodsStayUntilNewOnesAreReady) {
  const std::string hash = template_hash(deployment(1)->spec().template_());
  const PodPtr old = owned("old", "0000000000");
  EXPECT_THAT(plan_deployment(*deployment(1), {old}, counter()).create, SizeIs(1));
  const PodPtr starting = owned("new", hash, false);
  EXPECT_THAT(plan_deployment(*deployment(1), {old, starting}, counter()).remove, IsEmpty());
  const PodPtr ready = owned("new", hash);
  EXPECT_THAT(plan_deployment(*deployment(1), {old, ready}, counter()).remove, ElementsAre(old));
}

TEST(Planner, PodsThatAreLeavingDoNotCount) {
  const std::string hash = template_hash(deployment(1)->spec().template_());
  auto leaving = make_pod({.name = "a", .owner_uid = "d1", .hash = hash});
  leaving->mutable_metadata()->set_deletiontimestamp("2026-01-01T00:00:00Z");
  EXPECT_THAT(plan_deployment(*deployment(1), {leaving}, counter()).create, SizeIs(1));
}

TEST(Planner, TheHashFollowsTheTemplate) {
  auto changed = deployment(1);
  changed->mutable_spec()->mutable_template_()->mutable_spec()->mutable_containers(0)->add_args(
      "x");
  EXPECT_EQ(template_hash(deployment(1)->spec().template_()),
            template_hash(deployment(5)->spec().template_()));
  EXPECT_NE(template_hash(deployment(1)->spec().template_()),
            template_hash(changed->spec().template_()));
}

const std::vector<std::string> kNodes = {"node-1", "node-2"};

TEST(Scheduler, SpreadsAnOwnersPodsBeforeItCountsOthers) {
  const std::vector<PodPtr> placed = {
      make_pod({.name = "a", .node = "node-1", .owner_uid = "d1"}),
      make_pod({.name = "b", .node = "node-2"}),
      make_pod({.name = "c", .node = "node-2"}),
  };
  EXPECT_EQ(choose_node(*make_pod({.owner_uid = "d1"}), kNodes, placed), "node-2");
  EXPECT_EQ(choose_node(*make_pod({.owner_uid = "d2"}), kNodes, placed), "node-1");
  EXPECT_EQ(choose_node(*make_pod({}), kNodes, {}), "node-1");
}

TEST(Scheduler, HonoursTheNodeSelector) {
  auto pod = make_pod({});
  (*pod->mutable_spec()->mutable_nodeselector())["kubernetes.io/hostname"] = "node-2";
  (*pod->mutable_spec()->mutable_nodeselector())["kubernetes.io/os"] = "linux";
  EXPECT_EQ(choose_node(*pod, kNodes, {}), "node-2");
  (*pod->mutable_spec()->mutable_nodeselector())["disk"] = "ssd";
  const auto none = choose_node(*pod, kNodes, {});
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().to_string(), HasSubstr("disk=ssd"));
}

}  // namespace
}  // namespace weft::sandbox
