#include "agent/sandbox/spawn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

namespace weft::sandbox {
namespace {

using testing::HasSubstr;

TEST(Tools, GetInputAndGiveOutput) {
  EXPECT_EQ(run_tool({"cat"}, {.netns_fd = -1, .input = "through"}), "through");
  // An argument is one argument: no shell looks at it.
  EXPECT_EQ(run_tool({"printf", "%s", "$HOME; exit 1 'x"}), "$HOME; exit 1 'x");
}

TEST(Tools, AFailureSaysWhatWasRunAndWhy) {
  const auto failed = run_tool({"ls", "/no/such/folder"});
  ASSERT_FALSE(failed);
  EXPECT_THAT(failed.error().to_string(), HasSubstr("ls /no/such/folder"));
  EXPECT_THAT(failed.error().to_string(), HasSubstr("No such file"));
  const auto missing = run_tool({"no-such-tool"});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().to_string(), HasSubstr("is it installed?"));
}

TEST(Spawn, ErrorsOfTheChildComeBack) {
  SpawnOptions options;
  options.argv = {"true"};
  options.cwd = "/no/such/folder";
  EXPECT_THAT(spawn(options).error().to_string(), HasSubstr("/no/such/folder"));
  options.cwd = "/";
  options.prepare = []() -> Result<void> { return fail(Code::kRefused, "not today"); };
  EXPECT_EQ(spawn(options).error().to_string(), "not today");
}

TEST(Spawn, TellsHowAProcessEnded) {
  SpawnOptions options;
  options.argv = {"sh", "-c", "exit 3"};
  auto child = spawn(options);
  ASSERT_TRUE(child);
  ASSERT_TRUE(wait_until_ended(*child, std::chrono::seconds(10)));
  EXPECT_EQ(reap(*child).code(), 3);

  options.argv = {"sleep", "1000"};
  child = spawn(options);
  ASSERT_TRUE(child);
  EXPECT_FALSE(wait_until_ended(*child, std::chrono::milliseconds(1)));
  ::kill(child->pid, SIGKILL);
  const Exit exit = reap(*child);
  EXPECT_EQ(exit.code(), 128 + SIGKILL);
  EXPECT_THAT(exit.to_string(), HasSubstr("killed by signal 9"));
}

TEST(Spawn, NoDescriptorLeaksIntoAProgram) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);  // without close-on-exec
  SpawnOptions options;
  options.argv = {"test", "-e", "/proc/self/fd/" + std::to_string(ends[1])};
  const auto child = spawn(options);
  ASSERT_TRUE(child);
  EXPECT_EQ(reap(*child).code(), 1);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace weft::sandbox
