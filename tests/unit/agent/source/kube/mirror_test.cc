#include "agent/source/kube/mirror.h"

#include "proto/crd/core.pb.h"
#include "proto/crd/security.pb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::source::kube {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Served pods() { return {{.group = "", .versions = {"v1"}, .plural = "pods", .kind = "Pod"}, "v1"}; }

Served policies() {
  return {{.group = "security.istio.io",
           .versions = {"v1"},
           .plural = "authorizationpolicies",
           .kind = "AuthorizationPolicy",
           .keeps_status = true,
           .built_in = false},
          "v1"};
}

std::string pod(const std::string& name, int version, const std::string& more = "") {
  return R"({"metadata":{"name":")" + name + R"(","namespace":"a","uid":"u-)" + name +
         R"(","resourceVersion":")" + std::to_string(version) + R"("},"spec":{"nodeName":"n",)" +
         more + R"("containers":[{"name":"c","image":"i"}]}})";
}

std::string page(const std::vector<std::string>& items, int version, const std::string& next = "") {
  std::string text = R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":")" +
                     std::to_string(version) + R"(","continue":")" + next + R"("},"items":[)";
  for (size_t i = 0; i < items.size(); ++i) text += (i > 0 ? "," : "") + items[i];
  return text + "]}";
}

std::string event(const std::string& type, const std::string& object) {
  return R"({"type":")" + type + R"(","object":)" + object + "}";
}

// "+a/p" of what is there or has changed, "-a/p" of what has gone.
std::vector<std::string> told(Mirror& mirror) {
  std::vector<std::string> all;
  for (const Change& change : mirror.take_changes()) {
    all.push_back((change.object ? "+" : "-") + change.key.ns + "/" + change.key.name);
  }
  return all;
}

Mirror listed(Served served, const std::vector<std::string>& items, int version) {
  Mirror mirror(std::move(served));
  mirror.begin_list();
  EXPECT_EQ(mirror.add_page(page(items, version)).value(), "");
  mirror.end_list();
  return mirror;
}

TEST(Mirror, TellsPagesAndWatchesAsChanges) {
  Mirror mirror(pods());
  mirror.begin_list();
  EXPECT_EQ(mirror.add_page(page({pod("p", 1), pod("q", 2)}, 10, "more")).value(), "more");
  EXPECT_FALSE(mirror.has_listed());
  EXPECT_EQ(mirror.add_page(page({pod("r", 3)}, 10)).value(), "");
  mirror.end_list();
  EXPECT_THAT(told(mirror), ElementsAre("+a/p", "+a/q", "+a/r"));
  EXPECT_EQ(mirror.resource_version(), "10");

  EXPECT_TRUE(mirror.add_event(event("ADDED", pod("s", 11))).value());
  EXPECT_TRUE(mirror.add_event(event("DELETED", pod("p", 12))).value());
  EXPECT_TRUE(mirror.add_event(event("MODIFIED", pod("q", 13, R"("hostname":"h",)"))).value());
  EXPECT_THAT(told(mirror), ElementsAre("+a/s", "-a/p", "+a/q"));
  EXPECT_EQ(mirror.resource_version(), "13");
}

TEST(Mirror, SaysNothingOfWhatNobodyReads) {
  Mirror mirror = listed(pods(), {pod("p", 1)}, 10);
  told(mirror);
  const std::string noise = R"("priority":7,"tolerations":[{"key":"k"}],"brandNew":{"x":[1,2]},)";
  std::string noisy = pod("p", 11, noise);
  noisy.replace(noisy.find(R"("uid")"), 0, R"("annotations":{"note":"x"},)");
  EXPECT_TRUE(mirror.add_event(event("MODIFIED", noisy)).value());
  EXPECT_THAT(told(mirror), IsEmpty());
  EXPECT_THAT(mirror.take_errors(), IsEmpty());
  EXPECT_EQ(mirror.resource_version(), "11") << "the next watch begins behind it all the same";
}

TEST(Mirror, KeepsOfAPodWhatIsRead) {
  Mirror mirror =
      listed(pods(), {R"({"metadata":{"name":"p","namespace":"a","uid":"u","resourceVersion":"1",
           "labels":{"app":"x"},
           "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}",
                          "ambient.istio.io/redirection":"enabled",
                          "kubernetes.io/config.mirror":"39622686854a3c4a"},
           "managedFields":[{"manager":"m"}],"ownerReferences":[{"apiVersion":"apps/v1",
           "kind":"ReplicaSet","name":"r","uid":"1","controller":true}]},
          "spec":{"containers":[{"name":"c","image":"i","env":[{"name":"A","value":"b"}],
                  "ports":[{"name":"http","containerPort":80}]}],"restartPolicy":"Always"},
          "status":{"phase":"Running","podIP":"10.0.0.1","conditions":[
              {"type":"PodScheduled","status":"True"},{"type":"Ready","status":"True"}]}})"},
             10);
  const auto changes = mirror.take_changes();
  ASSERT_EQ(changes.size(), 1U);
  const auto* found = changes[0].object->as<crd::core::Pod>();
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->metadata().annotations().size(), 2U);
  EXPECT_EQ(found->metadata().annotations().at("kubernetes.io/config.mirror"), "39622686854a3c4a");
  EXPECT_EQ(found->metadata().annotations().at("ambient.istio.io/redirection"), "enabled");
  EXPECT_FALSE(found->metadata().has_managedfields());
  EXPECT_EQ(found->metadata().labels().at("app"), "x");
  EXPECT_EQ(found->metadata().ownerreferences(0).name(), "r");
  EXPECT_EQ(found->spec().containers(0).ports(0).containerport(), 80U);
  EXPECT_EQ(found->spec().containers(0).env_size(), 0);
  ASSERT_EQ(found->status().conditions_size(), 1);
  EXPECT_EQ(found->status().conditions(0).type(), "Ready");
}

TEST(Mirror, ListAfterAGapDeletesExactlyWhatIsGone) {
  Mirror mirror = listed(pods(), {pod("p", 1), pod("q", 2), pod("r", 3)}, 10);
  told(mirror);
  EXPECT_FALSE(
      mirror.add_event(R"({"type":"ERROR","object":{"kind":"Status","code":410}})").value());
  mirror.begin_list();
  EXPECT_TRUE(mirror.add_page(page({pod("q", 2)}, 20, "more")).has_value());
  EXPECT_THAT(told(mirror), IsEmpty()) << "nothing is deleted before the last page";
  EXPECT_TRUE(mirror.add_page(page({pod("r", 15, R"("hostname":"h",)"), pod("s", 16)}, 20)));
  mirror.end_list();
  EXPECT_THAT(told(mirror), ElementsAre("+a/r", "+a/s", "-a/p"));
}

TEST(Mirror, ListThatIsBegunAgainForgetsItsFirstPages) {
  Mirror mirror = listed(pods(), {pod("p", 1)}, 10);
  told(mirror);
  mirror.begin_list();
  EXPECT_TRUE(mirror.add_page(page({pod("p", 1)}, 20, "more")).has_value());
  mirror.begin_list();  // the token expired, and meanwhile p was deleted
  EXPECT_TRUE(mirror.add_page(page({pod("q", 21)}, 22)).has_value());
  mirror.end_list();
  EXPECT_THAT(told(mirror), ElementsAre("+a/q", "-a/p"));
  EXPECT_EQ(mirror.resource_version(), "22");
}

TEST(Mirror, TakesEventsTwiceAndOutOfOrder) {
  Mirror mirror = listed(pods(), {}, 10);
  EXPECT_TRUE(mirror.add_event(event("DELETED", pod("p", 11))).value());
  EXPECT_TRUE(mirror.add_event(event("MODIFIED", pod("p", 12))).value());
  EXPECT_TRUE(mirror.add_event(event("ADDED", pod("p", 12))).value());
  EXPECT_TRUE(mirror.add_event(event("DELETED", pod("p", 13))).value());
  EXPECT_TRUE(mirror.add_event(event("DELETED", pod("p", 13))).value());
  EXPECT_THAT(told(mirror), ElementsAre("+a/p", "-a/p"));
  EXPECT_EQ(mirror.size(), 0U);
}

TEST(Mirror, BookmarkMovesOnlyTheVersion) {
  Mirror mirror = listed(pods(), {pod("p", 1)}, 10);
  told(mirror);
  EXPECT_TRUE(
      mirror.add_event(event("BOOKMARK", R"({"kind":"Pod","metadata":{"resourceVersion":"99"}})"))
          .value());
  EXPECT_EQ(mirror.resource_version(), "99");
  EXPECT_THAT(told(mirror), IsEmpty());
}

TEST(Mirror, RefusesNonsenseAndStaysAsItWas) {
  Mirror mirror = listed(pods(), {pod("p", 1)}, 10);
  told(mirror);
  const std::vector<std::string> nonsense{
      "",
      "{",
      "null",
      "[]",
      "{}",
      R"({"type":"ADDED"})",
      R"({"type":"ADDED","object":7})",
      event("ADDED", R"({"metadata":{"resourceVersion":"11"}})"),
      event("ADDED", R"({"metadata":{"name":"x","resourceVersion":"11"}})"),
      event("ADDED", R"({"metadata":{"name":"x","namespace":"a"}})"),
      event("SURPRISE", pod("x", 11)),
      std::string(1, '\0'),
      event("ADDED", std::string(200, '[') + std::string(200, ']'))};
  for (const std::string& line : nonsense) {
    const auto done = mirror.add_event(line);
    EXPECT_FALSE(done.has_value()) << line;
    if (!done) EXPECT_THAT(done.error().message, HasSubstr("the API server sent")) << line;
  }
  for (const std::string& list :
       {std::string(), std::string("{"), std::string("[]"), std::string(R"({"items":[]})"),
        page({R"({"metadata":{}})"}, 1), page({"7"}, 1)}) {
    mirror.begin_list();
    EXPECT_FALSE(mirror.add_page(list).has_value()) << list;
  }
  EXPECT_EQ(mirror.resource_version(), "10");
  EXPECT_EQ(mirror.size(), 1U);
  EXPECT_THAT(told(mirror), IsEmpty());
}

TEST(Mirror, ErrorsOfAWatchSayWhatTheServerSaid) {
  Mirror mirror = listed(pods(), {}, 10);
  const auto done = mirror.add_event(
      R"({"type":"ERROR","object":{"kind":"Status","code":500,"reason":"InternalError",
          "message":"etcd\nis away"}})");
  ASSERT_FALSE(done.has_value());
  EXPECT_THAT(done.error().message, HasSubstr("500 InternalError: etcd"));
}

std::string policy(int version, const std::string& spec, const std::string& status = "{}") {
  return R"({"metadata":{"name":"p","namespace":"a","uid":"u","generation":3,"resourceVersion":")" +
         std::to_string(version) + R"("},"spec":)" + spec + R"(,"status":)" + status + "}";
}

const crd::security::AuthorizationPolicy* only_policy(const std::vector<Change>& changes) {
  if (changes.size() != 1 || !changes[0].object) return nullptr;
  return changes[0].object->as<crd::security::AuthorizationPolicy>();
}

TEST(Mirror, PolicyThatWasNeverGoodHasAStandInAndKeepsItsLastGoodVersionLater) {
  Mirror mirror = listed(policies(), {policy(1, R"({"action":"ALLOW","rulez":[]})")}, 10);
  const auto first = mirror.take_changes();
  ASSERT_NE(only_policy(first), nullptr);
  EXPECT_EQ(only_policy(first)->spec().action(), crd::security::AuthorizationPolicySpec::DENY);
  auto errors = mirror.take_errors();
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_THAT(errors[0].message, HasSubstr("AuthorizationPolicy/a/p: spec.rulez: unknown field"));

  // The same version again, by another list: it was said.
  mirror.begin_list();
  EXPECT_TRUE(mirror.add_page(page({policy(1, R"({"action":"ALLOW","rulez":[]})")}, 20)));
  mirror.end_list();
  EXPECT_THAT(mirror.take_errors(), IsEmpty());
  EXPECT_THAT(told(mirror), IsEmpty());

  EXPECT_TRUE(mirror.add_event(event("MODIFIED", policy(21, R"({"action":"AUDIT","rules":[{}]})")))
                  .value());
  const auto good = mirror.take_changes();
  ASSERT_NE(only_policy(good), nullptr);
  EXPECT_EQ(only_policy(good)->spec().action(), crd::security::AuthorizationPolicySpec::AUDIT);
  EXPECT_TRUE(mirror.add_event(event("MODIFIED", policy(22, R"({"actoin":"DENY"})"))).value());
  EXPECT_THAT(told(mirror), IsEmpty()) << "the last good version stays";
  EXPECT_EQ(mirror.take_errors().size(), 1U);
}

TEST(Mirror, StatusIsKeptForItsWriterAndIsNoChange) {
  Mirror mirror = listed(policies(), {policy(1, "{}")}, 10);
  told(mirror);
  const std::string status = R"({"conditions":[{"type":"T","status":"True"}]})";
  EXPECT_TRUE(mirror.add_event(event("MODIFIED", policy(11, "{}", status))).value());
  EXPECT_THAT(told(mirror), IsEmpty());
  const OnServer* server = mirror.on_server({"AuthorizationPolicy", "a", "p"});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->uid, "u");
  EXPECT_EQ(server->generation, 3);
  ASSERT_NE(server->status.find("conditions"), nullptr);
  EXPECT_EQ(server->status.find("conditions")->items.at(0).text_of("type"), "T");
  EXPECT_TRUE(mirror.add_event(event("DELETED", policy(12, "{}"))).value());
  EXPECT_EQ(mirror.on_server({"AuthorizationPolicy", "a", "p"}), nullptr);
}

TEST(Mirror, ClearTellsThatAllIsGone) {
  Mirror mirror = listed(pods(), {pod("p", 1)}, 10);
  told(mirror);
  mirror.clear();
  EXPECT_THAT(told(mirror), ElementsAre("-a/p"));
  EXPECT_FALSE(mirror.has_listed());
}

}  // namespace
}  // namespace weft::source::kube
