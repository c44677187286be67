#include "agent/cni/installer.h"

#include "tests/unit/agent/enrol/loop_thread.h"
#include "tests/unit/agent/identity/temp_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

namespace weft::cni {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kPrimary =
    R"({"cniVersion":"1.0.0","name":"kn","plugins":[{"type":"bridge"}]})";

class InstallerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(folder() + "/conf");
    fs::create_directory(folder() + "/bin");
    write("program", "the program");
  }
  void TearDown() override { end(); }

  std::string folder() const { return folder_.path(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder() + "/" + name) << text;
  }
  std::string read(const std::string& name) const {
    std::ifstream file(folder() + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  bool exists(const std::string& name) const { return fs::exists(folder() + "/" + name); }
  static bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 10'000 && !condition(); ++i) usleep(1'000);
    return condition();
  }
  std::string state() {
    return thread_.on_loop([this] { return installer_->state(); });
  }
  bool becomes(const std::string& wanted) {
    const bool came = eventually([&] { return state().find(wanted) != std::string::npos; });
    if (!came) ADD_FAILURE() << "is \"" << state() << "\", expected \"" << wanted << "\"";
    return came;
  }
  bool is_installed(const std::string& name = "conf/10-kn-weft.conflist") {
    return eventually(
        [&] { return read("bin/weft-cni") == "the program" && is_chained(read(name)); });
  }
  void begin() {
    thread_.on_loop([this] {
      installer_.emplace(thread_.loop(),
                         InstallerConfig{.conf_dir = folder() + "/conf",
                                         .bin_dir = folder() + "/bin",
                                         .program = folder() + "/program",
                                         .entry = {.socket = "/s", .exclude_namespaces = {}}});
      runs_.spawn(installer_->run());
    });
  }
  void end() {
    if (!installer_) return;
    thread_.on_loop([this] { installer_->stop(); });
    thread_.run(runs_.join());
  }

  TempFolder folder_;
  std::optional<Installer> installer_;
  runtime::TaskScope runs_;
  enrol::testing::LoopThread thread_;
};

TEST_F(InstallerTest, WaitsForThePrimaryAndChainsBehindIt) {
  begin();
  becomes("waiting: no configuration");
  EXPECT_EQ(read("bin/weft-cni"), "the program") << "ready before anybody asks for it";
  struct stat status{};
  ASSERT_EQ(stat((folder() + "/bin/weft-cni").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0755u);

  write("conf/10-kn.conflist", kPrimary);
  EXPECT_TRUE(is_installed());
  becomes("installed in " + folder() + "/conf/10-kn-weft.conflist");
  EXPECT_EQ(read("conf/10-kn.conflist"), kPrimary) << "untouched";
}

TEST_F(InstallerTest, WhatSomebodyDeletesOrOverwritesIsRepaired) {
  write("conf/10-kn.conflist", kPrimary);
  begin();
  ASSERT_TRUE(is_installed());
  fs::remove(folder() + "/conf/10-kn-weft.conflist");
  EXPECT_TRUE(is_installed());
  write("conf/10-kn-weft.conflist", "{}");
  EXPECT_TRUE(is_installed());
  fs::remove(folder() + "/bin/weft-cni");
  EXPECT_TRUE(is_installed());
  write("bin/weft-cni", "something else");
  EXPECT_TRUE(is_installed());
  ASSERT_EQ(chmod((folder() + "/bin/weft-cni").c_str(), 0600), 0);
  EXPECT_TRUE(eventually([this] {
    struct stat status{};
    return stat((folder() + "/bin/weft-cni").c_str(), &status) == 0 &&
           (status.st_mode & 07777) == 0755;
  }));
  fs::rename(folder() + "/conf", folder() + "/old");
  fs::create_directory(folder() + "/conf");
  write("conf/10-kn.conflist", kPrimary);
  EXPECT_TRUE(is_installed()) << "the folder itself was made anew";
}

TEST_F(InstallerTest, FollowsThePrimary) {
  write("conf/10-kn.conflist", kPrimary);
  begin();
  ASSERT_TRUE(is_installed());
  write("conf/10-kn.conflist",
        R"({"cniVersion":"1.0.0","name":"kn","plugins":[{"type":"other"}]})");
  EXPECT_TRUE(eventually(
      [this] { return read("conf/10-kn-weft.conflist").find("other") != std::string::npos; }));
  write("conf/10-kn.conflist", "{\"cniVersion\":");  // half-written
  becomes("failed: ");
  EXPECT_THAT(state(), HasSubstr("10-kn.conflist: not JSON"));
  EXPECT_THAT(read("conf/10-kn-weft.conflist"), HasSubstr("other")) << "the last good one";

  write("conf/05-new.conf", R"({"cniVersion":"1.0.0","name":"new","type":"ptp"})");
  EXPECT_TRUE(is_installed("conf/05-new-weft.conflist"));
  EXPECT_TRUE(eventually([this] { return !exists("conf/10-kn-weft.conflist"); }));
  fs::remove(folder() + "/conf/05-new.conf");
  fs::remove(folder() + "/conf/10-kn.conflist");
  becomes("waiting: no configuration");
  EXPECT_TRUE(eventually([this] { return !exists("conf/05-new-weft.conflist"); }))
      << "alone it would make the node look ready";
}

TEST_F(InstallerTest, EndingLeavesItAndRemovingTakesExactlyOursAway) {
  write("conf/10-kn.conflist", kPrimary);
  write("conf/20-theirs-weft.conflist", R"({"plugins":[{"type":"theirs"}]})");
  write("bin/bridge", "bridge");
  begin();
  ASSERT_TRUE(is_installed());
  end();
  EXPECT_TRUE(is_installed()) << "pods wait for the next agent";
  thread_.on_loop([this] { EXPECT_TRUE(installer_->remove()); });
  std::vector<std::string> left;
  for (const auto& entry : fs::recursive_directory_iterator(folder())) {
    if (entry.is_regular_file()) left.push_back(entry.path().filename().string());
  }
  EXPECT_THAT(left, testing::UnorderedElementsAre("10-kn.conflist", "20-theirs-weft.conflist",
                                                  "bridge", "program"));
  EXPECT_EQ(read("conf/10-kn.conflist"), kPrimary);
}

TEST_F(InstallerTest, SaysWhatKeepsItFromInstalling) {
  fs::remove(folder() + "/program");
  write("conf/10-kn.conflist", kPrimary);
  begin();
  becomes("failed: opening " + folder() + "/program");
  EXPECT_FALSE(exists("conf/10-kn-weft.conflist")) << "no configuration without its program";
  write("program", "the program");
  write("conf/10-kn.conflist", kPrimary);
  EXPECT_TRUE(is_installed());
}

}  // namespace
}  // namespace weft::cni
