#include "agent/retire.h"

#include <gmock/gmock.h>

namespace weft {
namespace {

using objects::parse_json;

TEST(Retire, TellsTheAgentsOnce) {
  const auto fresh =
      parse_json(R"({"spec":{"template":{"spec":{"containers":[{"args":["--in-cluster"]}]}}}})");
  EXPECT_EQ(retiring_patch(*fresh),
            R"([{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--retire"},)"
            R"({"op":"add","path":"/spec/updateStrategy","value":{"type":"RollingUpdate",)"
            R"("rollingUpdate":{"maxUnavailable":"100%"}}}])");
  const auto told = parse_json(
      R"({"spec":{"template":{"spec":{"containers":[{"args":["--in-cluster","--retire"]}]}}}})");
  EXPECT_EQ(retiring_patch(*told), "");
}

std::string status(int seen, int updated, int ready) {
  return R"({"metadata":{"generation":3},"status":{"desiredNumberScheduled":2,)"
         R"("observedGeneration":)" +
         std::to_string(seen) + R"(,"updatedNumberScheduled":)" + std::to_string(updated) +
         R"(,"numberReady":)" + std::to_string(ready) + "}}";
}

bool is_complete(const std::string& daemonset) {
  return rollout_of(*parse_json(daemonset)).is_complete();
}

TEST(Retire, IsDoneWhenEveryNodeHasAReadyPodOfTheNewTemplate) {
  EXPECT_TRUE(is_complete(status(3, 2, 2)));
  EXPECT_FALSE(is_complete(status(2, 2, 2)));
  EXPECT_FALSE(is_complete(status(3, 1, 2)));
  EXPECT_FALSE(is_complete(status(3, 2, 1)));
  EXPECT_FALSE(is_complete(R"({"metadata":{"generation":1}})"));  // nobody has looked at it yet
  // No nodes: nothing to give back.
  EXPECT_TRUE(is_complete(R"({"metadata":{"generation":1},"status":{"observedGeneration":1}})"));
}

}  // namespace
}  // namespace weft
