#include "agent/compile/capture_scope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>

namespace weft::compile {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Labels annotated(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Labels labels;
  for (const auto& [name, value] : pairs) {
    const bool ours = name.starts_with("ambient");
    labels[ours ? name : "traffic.sidecar.istio.io/" + name] = value;
  }
  return labels;
}

struct Read {
  CaptureScope scope;
  std::vector<AnnotationMistake> mistakes;
};

Read read(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Read read;
  read.scope = read_capture_scope(annotated(pairs), read.mistakes);
  return read;
}

TEST(CaptureScope, NothingSaidIsEverythingCaptured) {
  EXPECT_TRUE(read({}).scope.captures_all());
  const Read stars = read({{"includeOutboundIPRanges", "*"},
                           {"includeOutboundPorts", "*"},
                           {"includeInboundPorts", " * "},
                           {"ambient.istio.io/bypass-inbound-capture", "false"}});
  EXPECT_TRUE(stars.scope.captures_all());
  EXPECT_THAT(stars.mistakes, IsEmpty());
}

TEST(CaptureScope, ListsAreRead) {
  const Read all = read({{"excludeOutboundPorts", "3306, 6379"},
                         {"excludeOutboundIPRanges", "10.1.0.0/16,fd00::/8"},
                         {"includeOutboundIPRanges", "10.0.0.0/8"},
                         {"includeOutboundPorts", "443"},
                         {"excludeInboundPorts", "9090"},
                         {"includeInboundPorts", "80,8080"}});
  EXPECT_THAT(all.mistakes, IsEmpty());
  EXPECT_THAT(all.scope.exclude_outbound_ports, ElementsAre(3306, 6379));
  EXPECT_THAT(all.scope.exclude_outbound_ranges,
              ElementsAre(*Cidr::parse("10.1.0.0/16"), *Cidr::parse("fd00::/8")));
  EXPECT_THAT(*all.scope.include_outbound_ranges, ElementsAre(*Cidr::parse("10.0.0.0/8")));
  EXPECT_THAT(all.scope.include_outbound_ports, ElementsAre(443));
  EXPECT_THAT(all.scope.exclude_inbound_ports, ElementsAre(9090));
  EXPECT_THAT(*all.scope.include_inbound_ports, ElementsAre(80, 8080));
}

TEST(CaptureScope, EmptyIncludeListCapturesNothing) {
  const Read none = read({{"includeOutboundIPRanges", ""}, {"includeInboundPorts", " "}});
  EXPECT_THAT(none.mistakes, IsEmpty());
  ASSERT_TRUE(none.scope.include_outbound_ranges && none.scope.include_inbound_ports);
  EXPECT_THAT(*none.scope.include_outbound_ranges, IsEmpty());
  EXPECT_THAT(*none.scope.include_inbound_ports, IsEmpty());
}

TEST(CaptureScope, BypassIsNoInboundPort) {
  for (const char* word : {"true", "1", "T", "TRUE"}) {
    const Read bypass = read({{"ambient.istio.io/bypass-inbound-capture", word}});
    ASSERT_TRUE(bypass.scope.include_inbound_ports) << word;
    EXPECT_THAT(*bypass.scope.include_inbound_ports, IsEmpty());
  }
}

// Ports count regardless of the address, so with all of them no range can leave anything out.
TEST(CaptureScope, EveryOutboundPortOverridesRanges) {
  EXPECT_TRUE(read({{"includeOutboundPorts", "*"}, {"includeOutboundIPRanges", "10.0.0.0/8"}})
                  .scope.captures_all());
}

struct Mistake {
  const char* name;
  const char* annotation;
  const char* value;
  const char* says;
};

void PrintTo(const Mistake& row, std::ostream* out) { *out << row.name; }

class MistakeTest : public ::testing::TestWithParam<Mistake> {};

TEST_P(MistakeTest, IsExplainedAndCapturesAll) {
  const Mistake& row = GetParam();
  const Read got = read({{row.annotation, row.value}});
  EXPECT_TRUE(got.scope.captures_all());
  ASSERT_EQ(got.mistakes.size(), 1u);
  EXPECT_THAT(got.mistakes[0].to_string(), HasSubstr(row.annotation));
  EXPECT_THAT(got.mistakes[0].to_string(), HasSubstr(row.says));
}

const std::string kTooMany = [] {
  std::string list = "1";
  for (size_t port = 2; port <= kScopeEntriesMax + 1; ++port) list += "," + std::to_string(port);
  return list;
}();

INSTANTIATE_TEST_SUITE_P(
    CaptureScope, MistakeTest,
    ::testing::Values(Mistake{"PortWord", "excludeOutboundPorts", "http", "\"http\" is no port"},
                      Mistake{"PortZero", "excludeOutboundPorts", "0", "\"0\" is no port"},
                      Mistake{"PortTooLarge", "excludeOutboundPorts", "65536", "no port"},
                      Mistake{"PortNegative", "excludeInboundPorts", "-1", "no port"},
                      Mistake{"PortRange", "excludeInboundPorts", "80-90", "no port"},
                      Mistake{"PortsBySpaces", "excludeInboundPorts", "80 90", "no port"},
                      Mistake{"TrailingComma", "includeInboundPorts", "80,", "ends with a comma"},
                      Mistake{"EmptyElement", "includeInboundPorts", "80,,90", "\"\" is no port"},
                      Mistake{"TooMany", "includeInboundPorts", kTooMany.c_str(), "more than 256"},
                      Mistake{"AddressAlone", "excludeOutboundIPRanges", "10.0.0.1", "10.0.0.1/32"},
                      Mistake{"PrefixTooLong", "excludeOutboundIPRanges", "10.0.0.0/33", "no CIDR"},
                      Mistake{"HostName", "includeOutboundIPRanges", "example.com", "no CIDR"},
                      Mistake{"StarExcluded", "excludeOutboundIPRanges", "*", "everything"},
                      Mistake{"StarPortExcluded", "excludeInboundPorts", "*", "everything"},
                      Mistake{"StarAmongRanges", "includeOutboundIPRanges", "*,10.0.0.0/8",
                              "no CIDR"},
                      Mistake{"IncludedPort", "includeOutboundPorts", "x", "no port"},
                      Mistake{"Bypass", "ambient.istio.io/bypass-inbound-capture", "yes", "true"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(CaptureScope, UnreadablePortsDoNotLeaveRangesInForce) {
  const Read got = read({{"includeOutboundPorts", "x"}, {"includeOutboundIPRanges", "10.0.0.0/8"}});
  EXPECT_TRUE(got.scope.captures_all());
  EXPECT_EQ(got.mistakes.size(), 1u);
}

TEST(CaptureScope, OneMistakeDoesNotUndoTheOthers) {
  const Read got = read({{"excludeOutboundPorts", "x"}, {"excludeInboundPorts", "9090"}});
  EXPECT_THAT(got.scope.exclude_inbound_ports, ElementsAre(9090));
  EXPECT_EQ(got.mistakes.size(), 1u);
}

TEST(CaptureScope, TheMeshsOwnPortCannotBeExcluded) {
  const Read got = read({{"excludeInboundPorts", "15008"}});
  ASSERT_EQ(got.mistakes.size(), 1u);
  EXPECT_THAT(got.mistakes[0].message, HasSubstr("captured in any case"));
}

}  // namespace
}  // namespace weft::compile
