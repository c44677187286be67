#include "agent/sandbox/admission.h"

#include "tests/unit/agent/sandbox/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kDefault = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n";

Admission admit_over(const std::string& wanted, const std::vector<ObjectPtr>& present = {}) {
  std::vector<ObjectPtr> all = parse(kDefault);
  all.insert(all.end(), present.begin(), present.end());
  return admit(parse(wanted), all, {{"known", {"run"}}}, "images.yaml", "default", {});
}

std::string pod(const std::string& image, const std::string& more = "") {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: p" + more +
         "}\nspec: {containers: [{name: c, image: " + image + "}]}\n";
}

std::string service(const std::string& name, const std::string& ip = "") {
  return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {" +
         (ip.empty() ? "" : "clusterIP: " + ip + ", ") + "selector: {a: b}, ports: [{port: 80}]}\n";
}

const std::string& vip(const Admitted& admitted) {
  return admitted.object->as<crd::core::Service>()->spec().clusterip();
}

TEST(Admission, GivesANewObjectWhatItLacks) {
  const Admission admission = admit_over(pod("known"));
  ASSERT_THAT(admission.errors, IsEmpty());
  const auto& meta = admission.admitted.at(0).object->metadata();
  EXPECT_EQ(meta.namespace_(), "default");
  EXPECT_THAT(meta.uid(), SizeIs(36));
  EXPECT_FALSE(meta.creationtimestamp().empty());
  EXPECT_EQ(admission.admitted[0].outcome, Admitted::Outcome::kCreated);
}

TEST(Admission, TheSameAgainChangesNothing) {
  const ObjectPtr first = admit_over(pod("known")).admitted.at(0).object;
  const Admission again = admit_over(pod("known"), {first});
  EXPECT_EQ(again.admitted.at(0).outcome, Admitted::Outcome::kUnchanged);
}

TEST(Admission, LabelsChangeAPodThatGoesOnRunning) {
  auto running = copy_of<crd::core::Pod>(*admit_over(pod("known")).admitted.at(0).object);
  running->mutable_spec()->set_nodename("node-2");
  running->mutable_status()->set_podip("10.244.2.3");
  const ObjectPtr present = std::make_shared<objects::Object>("v1", "Pod", running);
  const Admission admission = admit_over(pod("known", ", labels: {a: b}"), {present});
  const auto* now = admission.admitted.at(0).object->as<crd::core::Pod>();
  EXPECT_EQ(now->metadata().uid(), running->metadata().uid());
  EXPECT_EQ(now->metadata().labels().at("a"), "b");
  EXPECT_EQ(now->spec().nodename(), "node-2");
  EXPECT_EQ(now->status().podip(), "10.244.2.3");
}

TEST(Admission, AnotherSpecIsAnotherPod) {
  const ObjectPtr first = admit_over(pod("known")).admitted.at(0).object;
  std::string changed = pod("known");
  changed.replace(changed.find("name: c"), 7, "name: d");
  const Admission admission = admit_over(changed, {first});
  const auto* now = admission.admitted.at(0).object->as<crd::core::Pod>();
  EXPECT_NE(now->metadata().uid(), first->metadata().uid());
  EXPECT_EQ(now->status().phase(), "Pending");
}

TEST(Admission, ClusterAddressesAreDifferentAndStay) {
  const Admission admission = admit_over(service("a") + service("b") + service("c", "10.96.9.9"));
  ASSERT_THAT(admission.errors, IsEmpty());
  EXPECT_NE(vip(admission.admitted.at(0)), vip(admission.admitted.at(1)));
  EXPECT_EQ(vip(admission.admitted.at(2)), "10.96.9.9");
  const Admission again = admit_over(service("a"), {admission.admitted[0].object});
  EXPECT_EQ(vip(again.admitted.at(0)), vip(admission.admitted[0]));
}

TEST(Admission, AWantedAddressIsNotGivenToAnother) {
  const std::string first = vip(admit_over(service("a")).admitted.at(0));
  const Admission admission = admit_over(service("a") + service("z", first));
  EXPECT_NE(vip(admission.admitted.at(0)), first);
}

struct Mistake {
  std::string manifest;
  std::string message;
};

TEST(Admission, Mistakes) {
  const std::vector<Mistake> mistakes = {
      {pod("unknown"), "Pod/default/p: spec.containers[0].image: \"unknown\""},
      {pod("known", ", namespace: nowhere"), "Pod/nowhere/p: metadata.namespace: "},
      {pod("known") + "---\n" + pod("known"), "Pod/default/p: metadata.name: written twice"},
      {service("a", "10.97.0.1"), "Service/default/a: spec.clusterIP: "},
      {service("a", "10.96.0.10"), "Service/default/a: spec.clusterIP: "},
  };
  for (const Mistake& mistake : mistakes) {
    const Admission admission = admit_over(mistake.manifest);
    ASSERT_THAT(admission.errors, SizeIs(1)) << mistake.manifest;
    EXPECT_THAT(admission.errors[0].to_string(), HasSubstr(mistake.message));
  }
}

TEST(Admission, ANamespaceMayComeInTheSameFile) {
  EXPECT_THAT(admit_over(pod("known", ", namespace: shop") +
                         "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
                  .errors,
              IsEmpty());
}

}  // namespace
}  // namespace weft::sandbox
