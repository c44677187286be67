#include "ztunnel/base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>
#include <thread>
#include <vector>

namespace weft::log {
namespace {

class LogTest : public testing::Test {
 protected:
  LogTest() {
    set_sink([this](std::string_view line) { lines_.emplace_back(line); });
  }
  ~LogTest() override {
    set_sink(nullptr);
    set_level(Level::kInfo);
  }
  // The only line, behind its time.
  std::string only_line() const {
    EXPECT_EQ(lines_.size(), 1U);
    const std::string& line = lines_.at(0);
    return line.substr(line.find('\t') + 1);
  }
  std::vector<std::string> lines_;
};

TEST_F(LogTest, LineHasTimeLevelTargetMessageAndFields) {
  info("xds").field("node", "n1").field("count", 3).bare("peer", "10.0.0.1:80").say("connected");
  EXPECT_TRUE(std::regex_match(
      lines_.at(0),
      std::regex("\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z\tinfo\txds\tconnected "
                 "node=\"n1\" count=3 peer=10.0.0.1:80\n")))
      << lines_.at(0);
}

TEST_F(LogTest, ValuesCannotForgeALineOrAField) {
  const std::string forged = "x\"\n2024-01-01T00:00:00Z\terror\tca\tkey=\"leaked\"\r\x1b[2J\x7f\\";
  info("t").field("a", forged).bare("b", forged).say("m");
  EXPECT_EQ(std::ranges::count(lines_.at(0), '\n'), 1);
  EXPECT_EQ(lines_.at(0).find_first_of("\r\x1b\x7f"), std::string::npos);
  const std::string value =
      "\"x\\\"\\u000a2024-01-01T00:00:00Z\\u0009error\\u0009ca\\u0009key=\\\"leaked\\\""
      "\\u000d\\u001b[2J\\u007f\\\\\"";
  EXPECT_EQ(only_line(), "info\tt\tm a=" + value + " b=" + value + "\n");
}

TEST_F(LogTest, AMessageCannotForgeALineEither) {
  error("t").say("cannot reach x\n2024\terror");
  EXPECT_EQ(only_line(), "error\tt\tcannot reach x\\u000a2024\\u0009error\n");
}

TEST_F(LogTest, BareValuesAreQuotedWhereTheyMust) {
  info("t")
      .bare("a", "plain-1.2_3/4:5")
      .bare("b", "")
      .bare("c", "two words")
      .bare("d", "k=v")
      .bare("e", "caf\xC3\xA9")
      .say("m");
  EXPECT_EQ(only_line(),
            "info\tt\tm a=plain-1.2_3/4:5 b=\"\" c=\"two words\" d=\"k=v\" "
            "e=\"caf\xC3\xA9\"\n");
}

TEST_F(LogTest, LevelsFilter) {
  set_level(Level::kWarn);
  info("t").say("hidden");
  debug("t").say("hidden");
  EXPECT_FALSE(enabled(Level::kInfo));
  EXPECT_TRUE(enabled(Level::kError));
  warn("t").say("shown");
  EXPECT_EQ(only_line(), "warn\tt\tshown\n");
  set_level(Level::kDebug);
  debug("t").say("shown");
  EXPECT_EQ(lines_.size(), 2U);
}

TEST_F(LogTest, LinesOfManyThreadsStayWhole) {
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([] {
        for (int line = 0; line < 500; ++line) info("t").field("line", line).say("m");
      });
    }
  }
  EXPECT_EQ(lines_.size(), 2000U);
  for (const std::string& line : lines_) {
    EXPECT_EQ(std::ranges::count(line, '\n'), 1);
    EXPECT_TRUE(line.ends_with('\n'));
  }
}

}  // namespace
}  // namespace weft::log
