// Kubelet probes: "other" is the kubelet's cgroup, the namespace outside is the node's.
#include "agent/enrol/kubelet.h"

#include "tests/unit/agent/enrol/capture_fixture.h"
#include "tests/unit/agent/enrol/loop_thread.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

namespace weft::enrol {
namespace {

using testing::Child;

// Connects (by IPv6 to the mapped address where asked), says its address, reads until the end.
std::string probe_pod(int family) {
  const Fd fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage to{};
  const bool v6 = family == AF_INET6;
  inet_pton(AF_INET, "10.99.0.2", &reinterpret_cast<sockaddr_in&>(to).sin_addr);
  if (v6) inet_pton(AF_INET6, "::ffff:10.99.0.2", &reinterpret_cast<sockaddr_in6&>(to).sin6_addr);
  to.ss_family = static_cast<sa_family_t>(family);
  reinterpret_cast<sockaddr_in&>(to).sin_port = htons(8080);
  const socklen_t length = v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return strerror(errno);
  return testing::read_text(fd.get());
}

class ProbeTest : public CaptureTest {
 protected:
  void SetUp() override {
    CaptureTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_TRUE(capture_->follow_kubelet(bed_->cgroup() + "/other"));
    app_ =
        *in_netns(bed_->pod(), []() -> Result<Fd> { return testing::listen_on("0.0.0.0:8080"); });
  }

  Child probe_from(const std::string& cgroup, int family = AF_INET) {
    return bed_->run(cgroup, bed_->out(), [family] { return probe_pod(family); });
  }

  // The state as soon as it says `text`, or what it says after 5 s.
  static std::string state_with(testing::LoopThread& thread, const KubeletProbes& probes,
                                const std::string& text) {
    std::string state;
    for (int i = 0; i < 500 && state.find(text) == std::string::npos; ++i) {
      if (i > 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      state = thread.on_loop([&] { return probes.state(); });
    }
    return state;
  }
  static void end(testing::LoopThread& thread, KubeletProbes& probes, runtime::TaskScope& tasks) {
    thread.on_loop([&] { probes.stop(); });
    thread.run(
        [](runtime::TaskScope& scope) -> runtime::Task<void> { co_await scope.join(); }(tasks));
  }

  Fd app_;
};

TEST_F(ProbeTest, KubeletReachesTheApplicationAndIsForgottenWhenItCloses) {
  for (const int family : {AF_INET, AF_INET6}) {
    Child kubelet = probe_from("other", family);
    {
      const Fd accepted = testing::accept_from(app_.get());
      ASSERT_TRUE(accepted) << kubelet.answer();
      EXPECT_EQ(capture_->open_probes(), 1u);
      testing::write_text(accepted.get(), "alive");
    }
    EXPECT_EQ(kubelet.answer(), "alive");
    EXPECT_EQ(capture_->open_probes(), 0u);
  }
  EXPECT_EQ(counted("inbound_probe"), 2u);
  EXPECT_FALSE(testing::comes_in_time(inbound(), 0));
}

TEST_F(ProbeTest, ProbeThatIsRefusedOrResetIsForgottenToo) {
  app_.reset();
  EXPECT_EQ(probe_from("other").answer(), strerror(ECONNREFUSED));
  EXPECT_EQ(capture_->open_probes(), 0u);
  EXPECT_EQ(counted("inbound_probe"), 1u) << "it was the application's port that refused";

  app_ = *in_netns(bed_->pod(), []() -> Result<Fd> { return testing::listen_on("0.0.0.0:8080"); });
  Child kubelet = probe_from("other");
  Fd accepted = testing::accept_from(app_.get());
  ASSERT_TRUE(accepted) << kubelet.answer();
  EXPECT_EQ(capture_->open_probes(), 1u);
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(accepted.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  accepted.reset();
  EXPECT_EQ(kubelet.answer(), "error " + std::to_string(ECONNRESET));
  EXPECT_EQ(capture_->open_probes(), 0u);
}

// The same address, while the kubelet has a connection open to the same port.
TEST_F(ProbeTest, OthersWithTheNodesAddressAreCaptured) {
  Child kubelet = probe_from("other");
  const Fd held = testing::accept_from(app_.get());
  ASSERT_TRUE(held) << kubelet.answer();
  Child host_network = probe_from("proxy");
  const Fd captured = testing::accept_from(inbound());
  ASSERT_TRUE(captured) << host_network.answer();
  testing::write_text(captured.get(), "from the proxy");
  EXPECT_EQ(host_network.answer(), "from the proxy");
  EXPECT_FALSE(testing::comes_in_time(app_.get(), 0));
  EXPECT_EQ(capture_->open_probes(), 1u);
}

// A process of the kubelet's that is in some pod's network is no kubelet.
TEST_F(ProbeTest, OnlyFromTheNodesNetwork) {
  Child inside = bed_->run("other", bed_->pod(), [] { return probe_pod(AF_INET); });
  const Fd accepted = testing::accept_from(app_.get());
  ASSERT_TRUE(accepted) << inside.answer();
  EXPECT_EQ(capture_->open_probes(), 0u);
}

TEST_F(ProbeTest, ForgottenKubeletIsCaptured) {
  ASSERT_TRUE(capture_->forget_kubelet());
  ASSERT_TRUE(capture_->forget_kubelet()) << "twice is fine";
  Child kubelet = probe_from("other");
  EXPECT_TRUE(testing::accept_from(inbound()));
  EXPECT_FALSE(testing::comes_in_time(app_.get(), 0));
}

TEST(KubeletProcess, TablesNameWhatListens) {
  const std::string table =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
      "inode\n"
      "   0: 00000000:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
      "4711 1\n"
      "   1: 0100007F:280A 0200007F:1234 01 00000000:00000000 00:00000000 00000000     0        0 "
      "4712 1\n"
      "   2: 00000000000000000000000000000000:280A 00000000000000000000000000000000:0000 0A "
      "00000000:00000000 00:00000000 00000000     0        0 4713 1\n"
      "   3: 00000000:280B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
      "4714 1\n"
      "   4: odd\n";
  EXPECT_EQ(listening_inodes(table, 10250), (std::set<uint64_t>{4711, 4713}));
  EXPECT_EQ(listening_inodes("", 10250), std::set<uint64_t>{});
}

// systemd takes a stopped service's cgroup away; the next one has another id.
TEST_F(ProbeTest, KubeletIsFollowedIntoItsNextCgroup) {
  const std::string folder = bed_->cgroup() + "/kubelet";
  testing::LoopThread thread;
  KubeletProbes probes(thread.loop(), *capture_, folder);
  const auto until_state_has = [&](const std::string& text) {
    return state_with(thread, probes, text);
  };
  runtime::TaskScope tasks;
  thread.on_loop([&] { tasks.spawn(probes.run()); });
  EXPECT_NE(until_state_has("is not there").find(folder), std::string::npos);
  for (int restart = 0; restart < 2; ++restart) {
    std::filesystem::create_directory(folder);
    EXPECT_EQ(until_state_has("let through"), "let through");
    Child kubelet = probe_from("kubelet");
    {
      const Fd accepted = testing::accept_from(app_.get());
      ASSERT_TRUE(accepted);
      testing::write_text(accepted.get(), "alive");
    }
    EXPECT_EQ(kubelet.answer(), "alive");
    std::filesystem::remove(folder);
    EXPECT_NE(until_state_has("is not there"), "let through");
  }
  end(thread, probes, tasks);
}

// By the port that it serves, in whatever cgroup it is; again when it has ended.
TEST_F(ProbeTest, KubeletIsFoundByItsPort) {
  ASSERT_TRUE(capture_->forget_kubelet());
  const std::string address = testing::local_of(testing::listen_on("127.0.0.1:0").get());
  const auto port = static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  testing::LoopThread thread;
  KubeletProbes probes(thread.loop(), *capture_, kFindKubelet, port);
  runtime::TaskScope tasks;
  thread.on_loop([&] { tasks.spawn(probes.run()); });
  const std::string nobody = "nobody listens on TCP port " + std::to_string(port);
  EXPECT_NE(state_with(thread, probes, nobody).find(nobody), std::string::npos);
  for (const char* cgroup : {"other", "proxy"}) {
    const Child kubelet = bed_->run(cgroup, -1, [&address]() -> std::string {
      const Fd listener = testing::listen_on(address);
      while (true) pause();
    });
    EXPECT_EQ(state_with(thread, probes, "let through"), "let through");
    Child probe = probe_from(cgroup);
    const Fd accepted = testing::accept_from(app_.get());
    ASSERT_TRUE(accepted) << cgroup;
    testing::write_text(accepted.get(), "alive");
    EXPECT_EQ(capture_->open_probes(), 1u);
    kill(kubelet.pid(), SIGKILL);
    EXPECT_NE(state_with(thread, probes, nobody).find(nobody), std::string::npos);
  }
  end(thread, probes, tasks);
}

}  // namespace
}  // namespace weft::enrol
