#include "agent/cli/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::cli {
namespace {

using testing::HasSubstr;

int run_seven(const Args& args) { return args == Args{"-x"} ? 7 : 1; }

const std::vector<Command> kCommands = {{"sandbox", "a cluster", run_seven},
                                        {"status", "how it is", run_seven},
                                        {"secret", "", run_seven, true}};

TEST(Dispatch, CallsTheCommandWithWhatStandsBehindIt) {
  EXPECT_EQ(dispatch("weft", kCommands, {"sandbox", "-x"}), 7);
  EXPECT_EQ(dispatch("weft", kCommands, {"secret", "-x"}), 7);
}

TEST(Dispatch, HelpListsWhatIsNotHidden) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(dispatch("weft", kCommands, {"--help"}), kDone);
  const std::string help = testing::internal::GetCapturedStdout();
  EXPECT_THAT(help, HasSubstr("sandbox        a cluster"));
  EXPECT_THAT(help, testing::Not(HasSubstr("secret")));
}

TEST(Dispatch, ASlipIsRecognized) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(dispatch("weft", kCommands, {"statsu"}), kMisused);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("did you mean \"status\"?"));
  testing::internal::CaptureStderr();
  EXPECT_EQ(dispatch("weft", kCommands, {"conquer"}), kMisused);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("`weft help` lists them"));
  testing::internal::CaptureStderr();
  EXPECT_EQ(dispatch("weft", kCommands, {}), kMisused);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("Usage: weft COMMAND"));
}

TEST(Closest, OnlyWhatIsClose) {
  EXPECT_EQ(closest("aply", {"apply", "delete"}), "apply");
  EXPECT_EQ(closest("dwon", {"up", "down"}), "down");
  EXPECT_EQ(closest("xy", {"up"}), "");
  EXPECT_EQ(closest(std::string(1 << 20, 'a'), {"up"}), "");
}

}  // namespace
}  // namespace weft::cli
