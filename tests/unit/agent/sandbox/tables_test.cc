#include "agent/sandbox/tables.h"

#include "tests/unit/agent/sandbox/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

using testing::HasSubstr;

TEST(Tables, AgesAsKubectlWritesThem) {
  EXPECT_EQ(human_age(0), "0s");
  EXPECT_EQ(human_age(119), "119s");
  EXPECT_EQ(human_age(120), "2m");
  EXPECT_EQ(human_age(303), "5m3s");
  EXPECT_EQ(human_age(3600), "60m");
  EXPECT_EQ(human_age(4 * 3600), "4h");
  EXPECT_EQ(human_age(72 * 3600), "3d");
  EXPECT_EQ(seconds_of("1970-01-02T00:00:01Z"), 86401);
  EXPECT_EQ(seconds_of("yesterday"), 0);
}

TEST(Tables, PodsWithWhereTheyAreAndWhatIsWrong) {
  auto pod = make_pod({.name = "web", .node = "node-2", .ip = "10.244.2.3"});
  pod->mutable_metadata()->set_creationtimestamp("1970-01-01T00:01:00Z");
  pod->mutable_status()->mutable_reason()->set_string_value("CrashLoopBackOff");
  pod->mutable_status()->mutable_message()->set_string_value("container c ended");
  const ObjectPtr object = std::make_shared<objects::Object>("v1", "Pod", pod);
  TableOptions options;
  options.wide = true;
  options.show_namespace = true;
  options.now_seconds = 70;
  EXPECT_EQ(print_table("Pod", {object}, {object}, options),
            "NAMESPACE   NAME   READY   STATUS             RESTARTS   AGE   IP           NODE\n"
            "default     web    0/1     CrashLoopBackOff   0          10s   10.244.2.3   node-2\n"
            "\n"
            "Pod/default/web: container c ended\n");
}

TEST(Tables, DeploymentsCountTheirPods) {
  const ObjectPtr deployment = parse(
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: default, uid: d1}\n"
      "spec:\n  replicas: 2\n  selector: {matchLabels: {app: web}}\n  template:\n"
      "    metadata: {labels: {app: web}}\n    spec: {containers: [{name: c, image: i}]}\n")[0];
  const std::string hash =
      template_hash(deployment->as<crd::core::Deployment>()->spec().template_());
  const ObjectPtr pod = std::make_shared<objects::Object>(
      "v1", "Pod", make_pod({.name = "a", .owner_uid = "d1", .hash = hash}));
  EXPECT_THAT(print_table("Deployment", {deployment}, {deployment, pod}, {}),
              HasSubstr("web    1/2     1            1"));
}

}  // namespace
}  // namespace weft::sandbox
