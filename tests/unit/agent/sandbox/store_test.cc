#include "agent/sandbox/store.h"

#include "tests/unit/agent/sandbox/samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>

namespace weft::sandbox {
namespace {

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/weft-store-XXXXXX";
    folder_ = ::mkdtemp(pattern);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static ObjectPtr map(const std::string& value) {
    return parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: ns}\ndata: {k: " +
                 value + "}\n")[0];
  }
  std::string folder_;
};

const objects::Key kKey{"ConfigMap", "ns", "m"};

TEST_F(StoreTest, PutsGetsAndRemoves) {
  const Store store(folder_);
  ASSERT_TRUE(store.put(*map("one")));
  ASSERT_TRUE(store.put(*map("two")));
  const auto found = store.get(kKey);
  ASSERT_TRUE(found && *found);
  EXPECT_EQ((*found)->as<crd::core::ConfigMap>()->data().at("k"), "two");
  EXPECT_EQ((*found)->metadata().resourceversion(), "2");
  EXPECT_EQ(store.list()->size(), 1U);
  ASSERT_TRUE(store.remove(kKey));
  ASSERT_TRUE(store.remove(kKey));
  EXPECT_EQ(*store.get(kKey), nullptr);
}

TEST_F(StoreTest, OneBadFileHidesNoOther) {
  const Store store(folder_);
  ASSERT_TRUE(store.put(*map("one")));
  std::ofstream(folder_ + "/Pod_ns_bad.json") << "{\"kind\": ";
  ASSERT_TRUE(store.list());
  EXPECT_EQ(store.list()->size(), 1U);
}

TEST_F(StoreTest, NamesThatLeaveTheFolder) {
  for (const char* name : {"../x", "a/b", "", "a_b", "a\nb"}) {
    EXPECT_FALSE(Store::file_name({"Pod", "ns", name})) << name;
  }
  EXPECT_FALSE(Store::file_name({"Pod", "..", "x/"}));
  EXPECT_FALSE(Store::file_name({"Pod", "ns", std::string(300, 'x')}));
  EXPECT_EQ(Store::file_name({"Pod", "ns", "a.b-c"}), "Pod_ns_a.b-c.json");
}

TEST(Uid, IsARandomUuid) {
  EXPECT_TRUE(std::regex_match(
      new_uid(),
      std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")));
  EXPECT_NE(new_uid(), new_uid());
}

}  // namespace
}  // namespace weft::sandbox
