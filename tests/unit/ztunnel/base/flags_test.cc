#include "ztunnel/base/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<Flag> kKnown = {
    {.name = "state", .value = "DIR", .help = "where it lives", .kind = Flag::Kind::kRequired},
    {.name = "output",
     .value = "FORMAT",
     .help = "how to print",
     .fallback = "json",
     .letter = 'o'},
    {.name = "workers", .value = "N", .help = "threads", .fallback = "2"},
    {.name = "keep", .help = "leave it up", .kind = Flag::Kind::kSwitch},
};

std::string error_of(const std::vector<std::string>& args, size_t positional_max = 0) {
  const auto flags = Flags::parse(args, kKnown, positional_max);
  return flags ? "no error" : flags.error().to_string();
}

TEST(Flags, TakesEveryForm) {
  const auto flags = Flags::parse(
      {"--state=a=b", "-o", "yaml", "--keep", "pod", "--", "curl", "--fail"}, kKnown, 1);
  ASSERT_TRUE(flags) << flags.error().to_string();
  EXPECT_EQ(flags->get("state"), "a=b");
  EXPECT_EQ(flags->get("output"), "yaml");
  EXPECT_TRUE(flags->has("keep"));
  EXPECT_FALSE(flags->has("workers"));
  EXPECT_EQ(flags->number("workers", 1, 8), 2);
  EXPECT_THAT(flags->positional(), ElementsAre("pod"));
  EXPECT_THAT(flags->rest(), ElementsAre("curl", "--fail"));
}

TEST(Flags, MistakesNameTheFlag) {
  EXPECT_THAT(error_of({"--state", "x", "--stat", "y"}),
              testing::AllOf(HasSubstr("unknown flag --stat;"), HasSubstr("--state DIR"),
                             HasSubstr("-o, --output FORMAT"), HasSubstr("--keep,")));
  EXPECT_THAT(error_of({"-x", "--state", "x"}), HasSubstr("unknown flag -x;"));
  EXPECT_THAT(error_of({"-output", "x"}), HasSubstr("unknown flag -output;"));
  EXPECT_EQ(error_of({"--output", "x"}), "missing flag --state DIR: where it lives");
  EXPECT_EQ(error_of({"--state"}), "--state needs a value: --state DIR");
  EXPECT_EQ(error_of({"--state", "--keep"}), "--state needs a value: --state DIR");
  EXPECT_EQ(error_of({"--state=a", "--state=b"}), "--state is given twice");
  EXPECT_EQ(error_of({"--state=a", "--keep=yes"}), "--keep takes no value");
  EXPECT_EQ(error_of({"--state=a", "pod"}), "unexpected argument \"pod\"");
  EXPECT_EQ(error_of({"--state=a", "pod", "two"}, 1), "unexpected argument \"two\"");
  EXPECT_EQ(error_of({"--state=a", "-"}), "unexpected argument \"-\"");
}

TEST(Flags, NumbersKeepTheirBounds) {
  for (const char* text : {"", "0", "9", "3x", " 3", "99999999999999999999"}) {
    const auto flags = Flags::parse({"--state=a", std::string("--workers=") + text}, kKnown);
    ASSERT_TRUE(flags);
    const auto number = flags->number("workers", 1, 8);
    ASSERT_FALSE(number) << text;
    EXPECT_EQ(number.error().message,
              std::string("--workers: expected a number from 1 to 8, got \"") + text + "\"");
  }
}

TEST(Flags, ListsLoseEmptyParts) {
  const auto flags = Flags::parse({"--state=,a,,b,"}, kKnown);
  ASSERT_TRUE(flags);
  EXPECT_THAT(flags->list("state"), ElementsAre("a", "b"));
  EXPECT_TRUE(Flags::parse({"--state="}, kKnown)->list("state").empty());
}

TEST(Flags, HelpNeedsNothingElse) {
  const auto flags = Flags::parse({"--help"}, kKnown);
  ASSERT_TRUE(flags);
  EXPECT_TRUE(flags->help());
  EXPECT_THAT(Flags::help_text("weft test", kKnown),
              testing::AllOf(HasSubstr("usage: weft test"), HasSubstr("where it lives (required)"),
                             HasSubstr("(default json)")));
}

}  // namespace
}  // namespace weft
