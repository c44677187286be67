#include "agent/cli/precheck.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <set>

namespace weft::cli {
namespace {

using ::testing::HasSubstr;

Result<std::string> there() { return std::string("at /a/place"); }
Result<std::string> there_without_words() { return std::string(); }
Result<std::string> not_there() { return fail(Code::kUnsupported, "no such thing"); }

Feature feature(const char* name, bool needed, Result<std::string> (*probe)()) {
  return {name, needed, "something else happens", probe};
}

TEST(Precheck, EachFeatureIsARow) {
  EXPECT_EQ(precheck_table(
                probe_all({feature("one", true, there), feature("two", false, there_without_words),
                           feature("three", false, not_there)})),
            "FEATURE   STATE     NEED     REMARK\n"
            "one       ok        needed   at /a/place\n"
            "two       ok        used\n"
            "three     missing   used     no such thing; then: something else happens\n");
}

TEST(Precheck, OnlyWhatIsNeededMakesAMachineUnfit) {
  EXPECT_FALSE(is_unfit(probe_all({feature("a", true, there), feature("b", false, not_there)})));
  EXPECT_TRUE(is_unfit(probe_all({feature("a", false, there), feature("b", true, not_there)})));
}

TEST(Precheck, Json) {
  EXPECT_EQ(precheck_json(probe_all({feature("a", true, there), feature("b", false, not_there)})),
            "{\"feature\":\"a\",\"state\":\"ok\",\"needed\":true,\"detail\":\"at /a/place\","
            "\"without\":\"something else happens\"}\n"
            "{\"feature\":\"b\",\"state\":\"missing\",\"needed\":false,\"detail\":\"no such "
            "thing\",\"without\":\"something else happens\"}\n");
}

TEST(Precheck, FeaturesHaveNamesOfTheirOwnAndSayWhatHappensWithout) {
  std::set<std::string> names;
  for (const Feature& one : kernel_features()) {
    EXPECT_TRUE(names.insert(one.name).second) << one.name;
    EXPECT_FALSE(one.without.empty()) << one.name;
  }
  for (const char* name :
       {"BTF", "cgroup2 mount", "sk_lookup", "sockmap", "cgroup links", "bpf_set_retval",
        "io_uring", "memfd sealing", "bpffs", "setns", "privileges", "tcp_fwmark_accept"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

// Where the tests that load programs pass, the probes must say so too.
TEST(Precheck, ThisMachineIsFit) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::vector<Checked> checked = probe_all(kernel_features());
  for (const Checked& one : checked) {
    if (one.feature.needed) {
      EXPECT_TRUE(one.outcome.has_value())
          << one.feature.name << ": " << one.outcome.error().to_string();
    }
  }
  EXPECT_FALSE(is_unfit(checked));
}

TEST(Precheck, ProbesLeaveTheProcessWhereItWas) {
  const auto netns = [] {
    char link[64]{};
    EXPECT_GT(readlink("/proc/self/ns/net", link, sizeof link - 1), 0);
    return std::string(link);
  };
  const std::string before = netns();
  probe_all(kernel_features());
  EXPECT_EQ(netns(), before);
}

}  // namespace
}  // namespace weft::cli
