#include "ztunnel/telemetry/cpu_profile.h"

#include "proto/profile.pb.h"
#include "ztunnel/telemetry/symbols.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

namespace weft::telemetry {

// Work that the profile has to find by its name.
[[gnu::noinline]] uint64_t spin_in_test(uint64_t rounds) {
  volatile uint64_t sum = 0;
  for (uint64_t i = 0; i < rounds; ++i) sum = sum + i;
  return sum;
}

namespace {

using perftools::profiles::Profile;
using ::testing::HasSubstr;

// Functions of a sample's stack, the leaf first.
std::vector<std::string> names_of(const Profile& profile,
                                  const perftools::profiles::Sample& sample) {
  std::vector<std::string> names;
  for (const uint64_t id : sample.location_id()) {
    const auto& location = profile.location(static_cast<int>(id) - 1);
    EXPECT_EQ(location.id(), id);
    if (location.line_size() == 0) continue;
    const auto& function = profile.function(static_cast<int>(location.line(0).function_id()) - 1);
    names.push_back(profile.string_table(static_cast<int>(function.name())));
  }
  return names;
}

TEST(CpuProfile, NamesWhereTheTimeWent) {
  auto started = CpuProfile::start(1000);
  if (!started) GTEST_SKIP() << started.error().to_string();
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  while (std::chrono::steady_clock::now() < end) {
    spin_in_test(1'000'000);
    (*started)->collect();
  }
  Profile profile;
  ASSERT_TRUE(profile.ParseFromString((*started)->finish()));
  EXPECT_EQ(profile.string_table(0), "");
  EXPECT_EQ(profile.period(), 1'000'000);
  EXPECT_EQ(profile.sample_type_size(), 2);
  EXPECT_GT(profile.mapping_size(), 0);
  int64_t all = 0;
  int64_t ours = 0;
  for (const auto& sample : profile.sample()) {
    ASSERT_EQ(sample.value_size(), 2);
    all += sample.value(0);
    const auto names = names_of(profile, sample);
    if (!names.empty() && names.front().starts_with("weft::telemetry::spin_in_test(")) {
      ours += sample.value(0);
    }
  }
  EXPECT_GT(all, 20);
  EXPECT_GT(ours * 10, all * 8) << "of " << all << " samples " << ours << " are in spin_in_test";
}

// It costs nothing before and after.
TEST(CpuProfile, LeavesNothingBehind) {
  const auto descriptors = [] {
    const std::filesystem::directory_iterator open("/proc/self/fd");
    return std::distance(begin(open), end(open));
  };
  const auto before = descriptors();
  for (int i = 0; i < 3; ++i) {
    auto started = CpuProfile::start(100);
    if (!started) GTEST_SKIP() << started.error().to_string();
    (*started)->finish();
  }
  EXPECT_EQ(descriptors(), before);
}

TEST(Symbols, FindsFunctionsOfThisProgramAndOfALibrary) {
  std::set<std::string> found;
  for (const CodeMapping& mapping : code_mappings()) {
    for (const auto address :
         {reinterpret_cast<uint64_t>(&spin_in_test), reinterpret_cast<uint64_t>(&std::getenv)}) {
      if (!mapping.contains(address)) continue;
      const auto symbols = Symbols::of(mapping);
      ASSERT_TRUE(symbols.has_value()) << symbols.error().to_string();
      found.insert(symbols->name_of(address + 1));
      EXPECT_EQ(symbols->name_of(1), "");
    }
  }
  EXPECT_THAT(found, ::testing::Contains(HasSubstr("spin_in_test(unsigned long)")));
  EXPECT_THAT(found, ::testing::Contains(HasSubstr("getenv")));
}

TEST(Symbols, AFileThatIsNoElfIsRefused) {
  EXPECT_EQ(Symbols::of({0, 4096, 0, "/etc/passwd"}).error().code, Code::kUnsupported);
  EXPECT_EQ(Symbols::of({0, 4096, 0, "/does/not/exist"}).error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace weft::telemetry
