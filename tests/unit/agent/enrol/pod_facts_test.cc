#include "agent/enrol/pod_facts.h"

#include "tests/unit/agent/enrol/fake_source.h"

#include <gtest/gtest.h>

namespace weft::enrol {
namespace {

using testing::pod_change;
using testing::PodSpec;

class PodIndexTest : public ::testing::Test {
 protected:
  PodIndex index_{"node-1", testing::is_labelled};
};

TEST_F(PodIndexTest, KnowsThisNodesPods) {
  const auto& pods =
      index_.apply({pod_change({}), pod_change({.name = "users-1", .uid = "u-2", .node = "node-2"}),
                    pod_change({.name = "users-2", .uid = "u-3", .node = ""})});
  ASSERT_EQ(pods.size(), 1u);
  const PodFacts& pod = pods.at("u-1");
  EXPECT_EQ(pod.ns, "shop");
  EXPECT_EQ(pod.name, "users-0");
  EXPECT_EQ(pod.service_account, "default") << "where none is written";
  EXPECT_EQ(pod.addresses.to_string(), "10.99.0.2");
  EXPECT_TRUE(pod.wanted);
  EXPECT_FALSE(pod.annotated);
}

TEST_F(PodIndexTest, FollowsChanges) {
  index_.apply({pod_change({.address = ""})});
  EXPECT_EQ(index_.pods().at("u-1").addresses, PodAddresses());
  index_.apply({pod_change({.service_account = "users", .annotated = true})});
  EXPECT_EQ(index_.pods().at("u-1").service_account, "users");
  EXPECT_TRUE(index_.pods().at("u-1").annotated);
  index_.apply({pod_change({.labelled = false})});
  EXPECT_FALSE(index_.pods().at("u-1").wanted);
  index_.apply({testing::pod_gone("users-0")});
  EXPECT_TRUE(index_.pods().empty());
}

TEST_F(PodIndexTest, EndedPodIsGone) {
  index_.apply({pod_change({.phase = "Succeeded"}),
                pod_change({.name = "b", .uid = "u-2", .phase = "Failed"}),
                pod_change({.name = "c", .uid = "u-3", .phase = "Pending"})});
  EXPECT_EQ(index_.pods().size(), 1u);
  EXPECT_TRUE(index_.pods().contains("u-3"));
}

TEST_F(PodIndexTest, RecreatedUnderTheSameNameIsAnotherPod) {
  index_.apply({pod_change({})});
  index_.apply({pod_change({.uid = "u-9"})});
  EXPECT_FALSE(index_.pods().contains("u-1"));
  EXPECT_TRUE(index_.pods().contains("u-9"));
}

TEST_F(PodIndexTest, AddressThatIsNoneIsNoAddress) {
  index_.apply({pod_change({.address = "10.99.0.2.evil"})});
  EXPECT_EQ(index_.pods().at("u-1").addresses, PodAddresses());
}

TEST_F(PodIndexTest, TakesOneAddressOfEachFamily) {
  const auto addresses = [this](std::vector<std::string> all) {
    index_.apply({pod_change({.addresses = std::move(all)})});
    return index_.pods().at("u-1").addresses.to_string();
  };
  EXPECT_EQ(addresses({"10.99.0.2", "fd99::2"}), "10.99.0.2, fd99::2");
  EXPECT_EQ(addresses({"fd99::2", "10.99.0.2"}), "10.99.0.2, fd99::2");
  EXPECT_EQ(addresses({"fd99::2"}), "fd99::2");
  EXPECT_EQ(addresses({"fd99::2.evil"}), "10.99.0.2") << "podIP is still there";
}

TEST_F(PodIndexTest, DnsCaptureIsAsAnnotated) {
  const auto dns = [this](const std::string& value) {
    index_.apply({pod_change({.dns_capture = value})});
    return index_.pods().at("u-1").dns_capture;
  };
  EXPECT_EQ(dns(""), std::nullopt);
  EXPECT_EQ(dns("true"), true);
  EXPECT_EQ(dns("false"), false);
  EXPECT_EQ(dns("maybe"), std::nullopt);
}

TEST_F(PodIndexTest, NamespaceChangesReachItsPods) {
  PodIndex index("node-1", [](const auto&, const weft::crd::core::Namespace* ns) {
    return ns != nullptr && ns->metadata().labels().contains("mesh");
  });
  const objects::Key key{.kind = "Namespace", .ns = "", .name = "shop"};
  const auto with_label = [&](bool labelled) {
    auto ns = std::make_shared<weft::crd::core::Namespace>();
    ns->mutable_metadata()->set_name("shop");
    if (labelled) (*ns->mutable_metadata()->mutable_labels())["mesh"] = "yes";
    return source::Change{.key = key,
                          .object = std::make_shared<objects::Object>("v1", "Namespace", ns)};
  };
  index.apply({pod_change({})});
  EXPECT_FALSE(index.pods().at("u-1").wanted);
  index.apply({with_label(true)});
  EXPECT_TRUE(index.pods().at("u-1").wanted);
  index.apply({with_label(false)});
  EXPECT_FALSE(index.pods().at("u-1").wanted);
  index.apply({with_label(true), {.key = key, .object = nullptr}});
  EXPECT_FALSE(index.pods().at("u-1").wanted);
}

}  // namespace
}  // namespace weft::enrol
