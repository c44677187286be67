// Reads the repository and fails on whatever the plan of the house forbids; before that, shows on
// small samples that each rule can fail.

#include "tests/unit/house_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

namespace weft::house {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Offences includes(const std::string& path, const std::string& target) {
  return check_includes({path, "#include <vector>\n#include \"" + target + "\"\n"});
}

TEST(HouseIncludes, ArrowsOfThePlanAreAllowed) {
  const std::vector<std::pair<std::string, std::string>> allowed{
      {"ztunnel/tls/a.cc", "ztunnel/runtime/loop.h"},
      {"ztunnel/tls/a.cc", "ztunnel/tls/b.h"},
      {"ztunnel/node/a.cc", "ztunnel/hbone/pool.h"},
      {"ztunnel/learn/a.cc", "proto/xds.pb.h"},
      {"ztunnel/main.cc", "ztunnel/node/node.h"},
      {"agent/compile/a.cc", "agent/objects/object.h"},
      {"agent/compile/a.h", "agent/model/workload.h"},
      {"agent/xds/a.cc", "agent/identity/token.h"},
      {"agent/enrol/a.cc", "bpf/weft_abi.h"},
      {"agent/trace/a.cc", "bpf/weft_abi.h"},
      {"agent/cli/a.cc", "ztunnel/http/http1_server.h"},
      {"bpf/capture.bpf.c", "vmlinux.h"},
  };
  for (const auto& [path, target] : allowed) {
    EXPECT_THAT(includes(path, target), IsEmpty()) << path << " -> " << target;
  }
}

TEST(HouseIncludes, ArrowsAgainstThePlanAreOffences) {
  const std::vector<std::pair<std::string, std::string>> forbidden{
      {"ztunnel/base/a.h", "ztunnel/runtime/loop.h"},
      {"ztunnel/runtime/a.cc", "ztunnel/tls/tls_stream.h"},
      {"ztunnel/tls/a.cc", "ztunnel/http/http1_server.h"},
      {"ztunnel/policy/a.cc", "ztunnel/runtime/loop.h"},
      {"ztunnel/hbone/a.cc", "ztunnel/policy/authorize.h"},
      {"ztunnel/learn/a.cc", "ztunnel/hbone/pool.h"},
      {"ztunnel/learn/a.cc", "ztunnel/node/node.h"},
      {"ztunnel/node/a.cc", "ztunnel/waypoint/route.h"},
      {"ztunnel/waypoint/a.cc", "ztunnel/node/node.h"},
      {"ztunnel/node/a.cc", "agent/model/workload.h"},
      {"ztunnel/main.cc", "agent/model/workload.h"},
      {"ztunnel/node/a.cc", "bpf/weft_abi.h"},
      {"agent/model/a.h", "agent/objects/object.h"},
      {"agent/objects/a.h", "agent/source/source.h"},
      {"agent/compile/a.cc", "agent/xds/server.h"},
      {"agent/xds/a.cc", "agent/identity/ca.h"},
      {"agent/xds/a.cc", "agent/objects/object.h"},
      {"agent/control/a.cc", "bpf/weft_abi.h"},
      {"agent/main.cc", "bpf/weft_abi.h"},
      {"agent/compile/a.cc", "ztunnel/policy/authorize.h"},
      {"agent/enrol/a.cc", "ztunnel/learn/state.h"},
      {"agent/enrol/a.cc", "tests/support/test_authority.h"},
      {"bpf/capture.bpf.c", "agent/enrol/links.h"},
  };
  for (const auto& [path, target] : forbidden) {
    EXPECT_THAT(includes(path, target), ElementsAre(HasSubstr(path + ":2: "))) << target;
  }
}

TEST(HouseIncludes, IndentedAndSpacedLinesCount) {
  EXPECT_THAT(check_includes({"ztunnel/base/a.h", "\n  #  include \"agent/model/a.h\"\n"}),
              ElementsAre("ztunnel/base/a.h:2: ztunnel/base may not include agent/model/a.h"));
}

TEST(HouseIncludes, UnknownRoomIsAnOffence) {
  EXPECT_THAT(includes("agent/utils/a.h", "ztunnel/base/ip.h"),
              ElementsAre(HasSubstr("the plan knows no room agent/utils")));
}

TEST(HouseSize, LongFilesAndWideLinesAreOffences) {
  std::string lines;
  for (size_t i = 0; i < kFileLinesMax; ++i) lines += "int a;\n";
  EXPECT_THAT(check_size({"agent/cli/a.cc", lines}), IsEmpty());
  EXPECT_THAT(check_size({"agent/cli/a.cc", lines + "int b;\n"}),
              ElementsAre(HasSubstr("a.cc:501: the file has 501 lines")));

  std::string wide;
  for (size_t i = 0; i < kLineColumnsMax; ++i) wide += "\xC3\xA9";  // one column, two bytes
  EXPECT_THAT(check_size({"tests/a.cc", wide}), IsEmpty());
  EXPECT_THAT(check_size({"tests/a.cc", "\n" + wide + "x"}), ElementsAre(HasSubstr("a.cc:2: ")));
}

TEST(HouseBanned, UnsafeCallsAreOffences) {
  for (const std::string call : {"strcpy(a, b)", "std::strcat(a, b)", "sprintf(a, b)", "rand()",
                                 "std::srand(1)", "gets(a)"}) {
    EXPECT_THAT(check_banned({"agent/cli/a.cc", "\n  " + call + ";\n"}),
                ElementsAre(HasSubstr("agent/cli/a.cc:2: ")))
        << call;
  }
}

TEST(HouseBanned, NamesThatOnlyContainABannedOneAreNot) {
  const std::string text =
      "snprintf(a, 1, b); operand(1); fgets(a, 1, f); RAND_bytes(a, 1);\n"
      "std::this_thread::get_id(); co_await loop.sleep(delay);\n"
      "// never strcpy(a, b), nor std::thread\n"
      "say(\"strcpy(a)\"); char quote = '\"'; int many = 1'000;\n"
      "mkdtemp(name);  // ends in XXXXXX\n";
  EXPECT_THAT(check_banned({"agent/cli/a.cc", text}), IsEmpty());
}

TEST(HouseBanned, SleepingAndThreadsAreOffencesOutsideTheirRooms) {
  EXPECT_THAT(check_banned({"ztunnel/node/a.cc", "std::this_thread::sleep_for(1s);"}),
              ElementsAre(HasSubstr("only the loop waits")));
  EXPECT_THAT(check_banned({"ztunnel/runtime/a.cc", "usleep(1);"}),
              ElementsAre(HasSubstr("only the loop waits")));
  EXPECT_THAT(check_banned({"ztunnel/node/a.cc", "std::jthread worker(f);"}),
              ElementsAre(HasSubstr("std::jthread")));
  for (const std::string path :
       {"ztunnel/runtime/a.cc", "agent/control/a.cc", "agent/sandbox/a.cc", "ztunnel/main.cc"}) {
    EXPECT_THAT(check_banned({path, "std::thread worker(f);"}), IsEmpty()) << path;
  }
}

TEST(HouseBanned, WordsOfUnfinishedWorkAreOffencesInCommentsToo) {
  for (const std::string word : {"FIX"
                                 "ME",
                                 "XX"
                                 "X",
                                 "Not imple"
                                 "mented",
                                 "for n"
                                 "ow",
                                 "st"
                                 "ub"}) {
    EXPECT_THAT(check_banned({"agent/cli/a.cc", "// " + word + ": later\n"}),
                ElementsAre(HasSubstr("agent/cli/a.cc:1: ")))
        << word;
  }
  EXPECT_THAT(check_banned({"agent/cli/a.cc", "// stubborn; NewStub(channel)\n"}), IsEmpty());
}

TEST(HouseLambdas, CapturingCoroutineIsAnOffence) {
  for (const std::string lambda :
       {"[&](int a) -> Task<void> { co_return; }",
        "[this] (std::vector<int> a) -> runtime::Task<Result<int>> {\n if (a[0]) {}\n co_await b; "
        "}",
        "[x = f(1)]() mutable -> weft::runtime::Task<void> { co_await x; }"}) {
    EXPECT_THAT(check_lambdas({"tests/a.cc", "\nspawn(" + lambda + ");"}),
                ElementsAre(HasSubstr("tests/a.cc:2: a lambda that captures")))
        << lambda;
  }
}

TEST(HouseLambdas, OthersAreNot) {
  for (const std::string text :
       {"[](int a) -> Task<void> { co_return; }", "[ ](int a) -> Task<void> { co_return; }",
        "[&](int a) -> Task<void> { return serve(a); }", "[&](int a) -> int { return a; }",
        "auto f(int a[2]) -> Task<void> { co_return; }",
        "// [&]() -> Task<void> { co_return; }\n"}) {
    EXPECT_THAT(check_lambdas({"tests/a.cc", text}), IsEmpty()) << text;
  }
}

TEST(HouseMachinePaths, PathsOfThisMachineAreOffencesInAnyFile) {
  const std::string path =
      "/wo"
      "rk/main";
  EXPECT_THAT(check_machine_paths({"scripts/run", "cd " + path + "\n"}),
              ElementsAre("scripts/run:1: a path of one machine: /wo"
                          "rk/"));
  EXPECT_THAT(check_machine_paths({"README.md", "see net" + path}), IsEmpty());
}

TEST(HouseLayout, TopLevelHoldsOnlyWhatThePlanNames) {
  EXPECT_THAT(check_layout({{"README.md", ""},
                            {".clang-format", ""},
                            {"LICENSE", ""},
                            {"helm/Chart.yaml", ""},
                            {"scripts/test", ""}}),
              IsEmpty());
  EXPECT_THAT(check_layout({{"notes.txt", ""}, {"docs/a.md", ""}}),
              ElementsAre(HasSubstr("docs:1: "), HasSubstr("notes.txt:1: ")));
}

TEST(HouseLayout, FoldersWithSourcesHaveAShortReadme) {
  std::string lines;
  for (size_t i = 0; i < kReadmeLinesMax; ++i) lines += "line\n";
  EXPECT_THAT(check_layout({{"agent/cli/a.cc", ""}, {"agent/cli/README.md", lines}}), IsEmpty());
  EXPECT_THAT(check_layout({{"agent/cli/a.cc", ""}}),
              ElementsAre(HasSubstr("agent/cli/README.md:1: ")));
  EXPECT_THAT(check_layout({{"agent/cli/a.cc", ""}, {"agent/cli/README.md", lines + "more\n"}}),
              ElementsAre(HasSubstr("agent/cli/README.md:21: ")));
}

TEST(HouseCodeOnly, KeepsLinesAndColumns) {
  const std::string text = "int a; // x\n/* y\n z */ b(\"c\\\"d\", R\"k(e)\")k\", 'f');\n";
  const std::string code = code_only(text);
  EXPECT_EQ(code.size(), text.size());
  EXPECT_EQ(std::ranges::count(code, '\n'), 3);
  for (const char gone : std::string("xyzcdef")) EXPECT_EQ(code.find(gone), std::string::npos);
  EXPECT_NE(code.find("b("), std::string::npos);
  EXPECT_NE(code.find(");"), std::string::npos);
}

// The repository

std::vector<File> read_repository(const std::filesystem::path& root) {
  std::vector<File> files;
  std::filesystem::recursive_directory_iterator entries(root);
  for (auto entry = begin(entries); entry != end(entries); ++entry) {
    const std::string path = std::filesystem::relative(entry->path(), root).generic_string();
    const std::string name = entry->path().filename().string();
    if (path == "build" || name == ".git" || name == "__pycache__" || name == "node_modules") {
      entry.disable_recursion_pending();
      continue;
    }
    if (!entry->is_regular_file()) continue;
    std::ifstream in(entry->path(), std::ios::binary);
    files.push_back({path, {std::istreambuf_iterator<char>(in), {}}});
  }
  return files;
}

TEST(House, IsInOrder) {
  const std::vector<File> files = read_repository(WEFT_SOURCE_DIR);
  ASSERT_GT(files.size(), 50U);
  const Offences offences = check(files);
  std::string report;
  for (const std::string& offence : offences) report += offence + "\n";
  EXPECT_THAT(offences, IsEmpty()) << "\n" << report;
}

}  // namespace
}  // namespace weft::house
