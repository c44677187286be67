// The node role as it is run: flags, objects from a folder, signals, the admin socket.
#include "agent/enrol/run_node.h"

#include "tests/unit/agent/enrol/fake_ztunnel.h"
#include "tests/unit/agent/enrol/testbed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

namespace weft::enrol {
namespace {

using testing::Child;
using testing::FakeZtunnel;
using ::testing::HasSubstr;

std::string complaint_of(const std::vector<std::string>& args) {
  ::testing::internal::CaptureStderr();
  const int code = run_node(args);
  const std::string text = ::testing::internal::GetCapturedStderr();
  return "exit " + std::to_string(code) + ": " + text;
}

TEST(RunNodeFlags, MissingFlagIsNamed) {
  EXPECT_THAT(complaint_of({"--node", "n"}), HasSubstr("exit 1: weft-agent node: "));
  EXPECT_THAT(complaint_of({"--node", "n"}), HasSubstr("--zds-socket"));
}

class RunNodeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = testing::missing_for_capture();
    if (!missing.empty()) GTEST_SKIP() << "needs " << missing;
    bed_.emplace();
    std::filesystem::create_directory(bed_->folder() + "/objects");
    write_pod("ambient");
    pod_.emplace(bed_->run(testing::kPodCgroup, bed_->pod(), []() -> std::string {
      while (true) pause();
    }));
  }

  void write_pod(const std::string& mode) {
    const std::string path = bed_->folder() + "/objects/pod.yaml";
    std::ofstream(path + ".new") << "apiVersion: v1\nkind: Pod\nmetadata:\n"
                                    "  name: users-0\n  namespace: shop\n  uid: u-1\n"
                                    "  labels: {istio.io/dataplane-mode: "
                                 << mode
                                 << "}\n"
                                    "spec:\n  nodeName: node-1\n"
                                    "  containers: [{name: c, image: i}]\n"
                                    "status:\n  podIP: 10.99.0.2\n  phase: Running\n";
    std::filesystem::rename(path + ".new", path);
  }
  std::vector<std::string> flags() const {
    const std::string& folder = bed_->folder();
    return {"--node",         "node-1",
            "--objects",      folder + "/objects",
            "--zds-socket",   zds(),
            "--admin-socket", folder + "/agent.sock",
            "--bpffs",        bed_->bpffs(),
            "--cgroup-root",  bed_->cgroup(),
            "--pod-cgroups",  bed_->cgroup() + "/pods"};
  }
  std::string zds() const { return bed_->folder() + "/zds.sock"; }
  Child start(std::vector<std::string> args) {
    return bed_->run("other", -1,
                     [args = std::move(args)] { return "exit " + std::to_string(run_node(args)); });
  }
  // GET /status until it says `text`, at most 10 s.
  std::string status_with(const std::string& text) {
    std::string status;
    for (int i = 0; i < 500 && status.find(text) == std::string::npos; ++i) {
      status = testing::shell_output("curl -s --max-time 5 --unix-socket " + bed_->folder() +
                                     "/agent.sock http://agent/status");
      if (status.find(text) == std::string::npos) usleep(20'000);
    }
    return status;
  }
  bool is_captured() const {
    return !testing::shell_output("ls " + bed_->bpffs() + "/node-1 2>/dev/null | grep deliver")
                .empty();
  }

  std::optional<testing::Testbed> bed_;
  std::optional<Child> pod_;
};

TEST_F(RunNodeTest, FollowsManifestsAndSaysWhatItDoes) {
  Child agent = start(flags());
  EXPECT_THAT(status_with("waiting for ztunnel"), HasSubstr("\"name\":\"users-0\""));
  FakeZtunnel ztunnel(zds());
  ztunnel.say(testing::kHelloForListeners);
  ASSERT_TRUE(ztunnel.next()->request.has_add());
  ztunnel.ack();
  ASSERT_TRUE(ztunnel.next()->request.has_snapshot_sent());
  ztunnel.ack();
  const std::string status = status_with("\"state\":\"captured\"");
  EXPECT_THAT(status, HasSubstr("\"node\":\"node-1\""));
  EXPECT_THAT(status, HasSubstr("\"pid\":" + std::to_string(getpid())));
  EXPECT_THAT(status, HasSubstr("\"outbound_captured\":0"));
  EXPECT_THAT(status, HasSubstr("\"ztunnel\":{\"error\"")) << "this one answers on no 15000";

  write_pod("none");
  ASSERT_TRUE(ztunnel.next()->request.has_del());
  ztunnel.ack();
  EXPECT_THAT(status_with("\"pods\":[]"), HasSubstr("\"pods\":[]"));
  EXPECT_FALSE(is_captured());
  kill(agent.pid(), SIGTERM);
  EXPECT_EQ(agent.answer(), "exit 0");
}

TEST_F(RunNodeTest, PassesItsZtunnelsDumpOnAndNothingElse) {
  Child agent = start(flags());
  EXPECT_THAT(status_with("waiting for ztunnel"), HasSubstr("users-0"));
  const auto get = [this](const std::string& path) {
    return testing::shell_output("curl -s --max-time 5 -w ' %{http_code}' --unix-socket " +
                                 bed_->folder() + "/agent.sock http://agent" + path);
  };
  EXPECT_THAT(get("/ztunnel/config_dump"), HasSubstr("no ztunnel is connected\n 502"));
  EXPECT_THAT(get("/ztunnel/quitquitquit"), HasSubstr(" 404"));
  EXPECT_THAT(get("/ztunnel/"), HasSubstr(" 404"));
  kill(agent.pid(), SIGTERM);
  EXPECT_EQ(agent.answer(), "exit 0");
}

TEST_F(RunNodeTest, KeepsWeftCniInstalledUntilItIsToWithdraw) {
  const std::string& folder = bed_->folder();
  std::filesystem::create_directory(folder + "/conf");
  std::filesystem::create_directory(folder + "/bin");
  std::ofstream(folder + "/program") << "weft-cni";
  std::ofstream(folder + "/conf/10-kn.conflist")
      << R"({"cniVersion":"1.0.0","name":"kn","plugins":[{"type":"bridge"}]})";
  std::vector<std::string> args = flags();
  args.insert(args.end(), {"--cni-socket", folder + "/cni.sock", "--cni-conf-dir", folder + "/conf",
                           "--cni-bin-dir", folder + "/bin", "--cni-program", folder + "/program",
                           "--cni-exclude-namespaces", "kube-system,mesh"});
  const std::string ours = folder + "/conf/10-kn-weft.conflist";
  Child first = start(args);
  EXPECT_THAT(status_with("installed in"), HasSubstr("\"cni\":\"installed in " + ours + "\""));
  EXPECT_TRUE(std::filesystem::is_socket(folder + "/cni.sock"));
  EXPECT_THAT(testing::shell_output("cat " + ours),
              HasSubstr("\"socket\":\"" + folder +
                        "/cni.sock\",\"excludeNamespaces\":[\"kube-system\",\"mesh\"]"));
  kill(first.pid(), SIGTERM);
  EXPECT_EQ(first.answer(), "exit 0");
  EXPECT_TRUE(std::filesystem::exists(ours)) << "pods wait for the next agent";

  args.push_back("--withdraw-on-exit");
  Child second = start(args);
  EXPECT_THAT(status_with("installed in"), HasSubstr("installed in"));
  kill(second.pid(), SIGTERM);
  EXPECT_EQ(second.answer(), "exit 0");
  EXPECT_FALSE(std::filesystem::exists(ours));
  EXPECT_FALSE(std::filesystem::exists(folder + "/bin/weft-cni"));
  EXPECT_TRUE(std::filesystem::exists(folder + "/conf/10-kn.conflist"));
}

TEST_F(RunNodeTest, EndingLeavesCaptureInPlaceUnlessAskedToWithdraw) {
  Child first = start(flags());
  EXPECT_THAT(status_with("waiting for ztunnel"), HasSubstr("users-0"));
  kill(first.pid(), SIGTERM);
  EXPECT_EQ(first.answer(), "exit 0");
  EXPECT_TRUE(is_captured());

  std::vector<std::string> args = flags();
  args.push_back("--withdraw-on-exit");
  Child second = start(args);
  EXPECT_THAT(status_with("waiting for ztunnel"), HasSubstr("users-0"));
  kill(second.pid(), SIGTERM);
  EXPECT_EQ(second.answer(), "exit 0");
  EXPECT_EQ(testing::shell_output("ls " + bed_->bpffs() + " | grep node"), "");
  EXPECT_EQ(testing::shell_output("ip -n " + bed_->pod_name() + " rule | grep fwmark"), "");
}

struct BadFlag {
  const char* name;
  const char* flag;
  const char* value;
  const char* says;
};

class BadFlagTest : public RunNodeTest, public ::testing::WithParamInterface<BadFlag> {};

TEST_P(BadFlagTest, IsOneClearLine) {
  std::vector<std::string> args = flags();
  const auto at = std::ranges::find(args, GetParam().flag);
  if (at == args.end()) {
    args.insert(args.end(), {GetParam().flag, GetParam().value});
  } else {
    *(at + 1) = GetParam().value;
  }
  Child agent = bed_->run("other", -1, [&] { return complaint_of(args); });
  const std::string complaint = agent.answer();
  EXPECT_THAT(complaint, HasSubstr("exit 1"));
  EXPECT_THAT(complaint, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    RunNode, BadFlagTest,
    ::testing::Values(
        BadFlag{"EmptySlot", "--empty-slot", "maybe", "--empty-slot: expected"},
        BadFlag{"NoBpffs", "--bpffs", "/proc/nowhere", "/proc/nowhere"},
        BadFlag{"NoCgroup", "--cgroup-root", "/nowhere", "/nowhere"},
        BadFlag{"NotACgroup", "--cgroup-root", "/tmp", "attaching"},
        BadFlag{
            "LongSocket", "--zds-socket",
            "/tmp/a-path-that-is-much-longer-than-the-one-hundred-and-seven-bytes-that-unix-sockets"
            "-have-room-for-in-their-address",
            "longer than 107 bytes"},
        BadFlag{"NoObjects", "--objects", "/nowhere", "/nowhere"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace weft::enrol
