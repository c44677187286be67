#include "agent/enrol/enroller.h"

#include "agent/enrol/cgroups.h"
#include "agent/enrol/netns.h"
#include "tests/unit/agent/enrol/enroller_fixture.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <optional>

namespace weft::enrol {
namespace {

using testing::Agent;
using testing::Child;
using testing::EnrollerTest;
using testing::eventually;
using testing::FakeSource;
using testing::FakeZtunnel;
using testing::pod_change;

TEST_F(EnrollerTest, PodIsAnnotatedOnceZtunnelHasAcceptedIt) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  EXPECT_EQ(agent_->annotations(), "");
  const std::vector<Fd> descriptors = connect_ztunnel();
  ASSERT_EQ(descriptors.size(), 7u) << "the netns and a socket of each kind";
  EXPECT_TRUE(is_same_netns(descriptors[0].get(), bed_->pod()));
  agent_->becomes("u-1 captured;");
  EXPECT_TRUE(eventually([&] { return agent_->annotations() == "u-1=enabled;"; }));

  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd = testing::tcp_socket();
    if (const int error = testing::connect_to(fd.get(), "10.96.0.7:80")) {
      return std::string(strerror(error));
    }
    return testing::read_text(fd.get());
  });
  const Fd accepted = testing::accept_from(descriptors[2].get());
  ASSERT_TRUE(accepted) << client.answer();
  testing::write_text(accepted.get(), "from ztunnel");
  EXPECT_EQ(client.answer(), "from ztunnel");

  // ztunnel's own connections from within the pod pass: its cgroup became known by its hello.
  const Fd server =
      *in_netns(bed_->out(), []() -> Result<Fd> { return testing::listen_on("10.99.0.1:80"); });
  const Fd own = testing::tcp_socket_in(bed_->pod());
  EXPECT_EQ(testing::connect_to(own.get(), "10.99.0.1:80"), 0);
  EXPECT_TRUE(testing::accept_from(server.get()));
}

TEST_F(EnrollerTest, RemovedLabelWithdrawsInOrder) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  {
    const std::vector<Fd> descriptors = connect_ztunnel();
    agent_->becomes("u-1 captured;");
    agent_->push(pod_change({.labelled = false}));
    EXPECT_TRUE(eventually([&] { return agent_->annotations() == "u-1=enabled;u-1=;"; }));
    agent_->becomes("u-1 leaving;");
    EXPECT_EQ(agent_->captured(), 0u);
    EXPECT_NE(testing::shell_output("ip -n " + bed_->pod_name() + " rule | grep fwmark"), "")
        << "rules serve open connections until ztunnel let go";
    auto del = ztunnel_->next();
    ASSERT_TRUE(del && del->request.has_del());
    EXPECT_EQ(del->request.del().uid(), "u-1");
  }
  ztunnel_->ack();
  agent_->becomes("");
  expect_clean_pod();

  agent_->push(pod_change({}));
  agent_->becomes("u-1 waiting for ztunnel;");
  EXPECT_EQ(agent_->captured(), 1u);
}

TEST_F(EnrollerTest, AnnotationThatCannotBeRemovedKeepsThePodCaptured) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  const std::vector<Fd> descriptors = connect_ztunnel();
  agent_->becomes("u-1 captured;");
  ASSERT_TRUE(eventually([&] { return agent_->annotations() == "u-1=enabled;"; }));
  agent_->refuse_annotations(true);
  agent_->push(pod_change({.labelled = false}));
  EXPECT_TRUE(eventually([&] { return agent_->why().find("away") != std::string::npos; }));
  EXPECT_EQ(agent_->captured(), 1u);
  agent_->refuse_annotations(false);
  auto del = ztunnel_->next();
  EXPECT_TRUE(del && del->request.has_del()) << "tried again";
}

TEST_F(EnrollerTest, PodWithoutProcessOrAddressIsWaitedFor) {
  start_agent({pod_change({.address = ""})});
  agent_->becomes("u-1 waiting;");
  EXPECT_NE(agent_->why().find("status.podIP"), std::string::npos);
  agent_->push(pod_change({}));
  EXPECT_TRUE(eventually([&] { return agent_->why().find("no process") != std::string::npos; }));
  start_pod();
  agent_->becomes("u-1 waiting for ztunnel;");
}

TEST_F(EnrollerTest, AddressThatNoInterfaceHoldsIsWaitedForAndLeavesNothing) {
  start_pod();
  start_agent({pod_change({.address = "10.99.0.77"})});
  agent_->becomes("u-1 waiting;");
  EXPECT_TRUE(eventually([&] { return agent_->why().find("10.99.0.77") != std::string::npos; }));
  expect_clean_pod();
}

TEST_F(EnrollerTest, DeletedPodLeavesNothing) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  agent_->push(testing::pod_gone("users-0"));
  agent_->becomes("");
  EXPECT_EQ(agent_->captured(), 0u);
  EXPECT_EQ(agent_->annotations(), "");
  expect_clean_pod();
}

// A rule that sends queries to a socket that nobody reads would cost the pod its DNS.
TEST_F(EnrollerTest, DnsIsCapturedWhileAZtunnelServesIt) {
  const auto rules = [this] {
    const std::string of_pod =
        " -n " + bed_->pod_name() + " rule | grep -c 'fwmark 0x53c.*dport 53'";
    return testing::shell_output("ip -4" + of_pod) + testing::shell_output("ip -6" + of_pod);
  };
  const auto become = [&](const std::string& wanted) {
    return eventually([&] { return rules() == wanted; });
  };
  constexpr const char* kThere = "1\n1\n";
  constexpr const char* kGone = "0\n0\n";
  start_pod();
  start_agent({pod_change({.dns_capture = "true"})});
  agent_->becomes("u-1 waiting for ztunnel;");
  EXPECT_EQ(rules(), kGone);
  connect_ztunnel();
  EXPECT_TRUE(become(kThere));
  agent_->push(pod_change({.dns_capture = "false"}));
  EXPECT_TRUE(become(kGone));
  agent_->push(pod_change({.dns_capture = "true"}));
  EXPECT_TRUE(become(kThere));

  // An agent that comes later keeps what is there, for as long as a ztunnel may come back.
  agent_.reset();
  EXPECT_EQ(rules(), kThere);
  start_agent({pod_change({.dns_capture = "true"})});
  agent_->becomes("u-1 waiting for ztunnel;");
  connect_ztunnel();
  agent_->becomes("u-1 captured;");
  EXPECT_EQ(rules(), kThere);

  ztunnel_.reset();
  EXPECT_TRUE(become(kGone)) << "the ztunnel did not come back";
  connect_ztunnel();
  EXPECT_TRUE(become(kThere));
  agent_->push(pod_change({.labelled = false, .dns_capture = "true"}));
  EXPECT_TRUE(become(kGone));
}

TEST_F(EnrollerTest, DnsIsNotCapturedByAZtunnelThatTookNoSocket) {
  start_pod();
  start_agent({pod_change({.dns_capture = "true"})});
  agent_->becomes("u-1 waiting for ztunnel;");
  ztunnel_.emplace(zds());
  ztunnel_->say(testing::kPlainHello);
  const auto add = ztunnel_->next();
  ASSERT_TRUE(add && add->request.has_add());
  ztunnel_->ack();
  agent_->becomes("u-1 captured;");
  EXPECT_EQ(testing::shell_output("ip -n " + bed_->pod_name() + " rule | grep dport"), "");
}

TEST_F(EnrollerTest, ZtunnelInThePodsOwnCgroupIsNotAdmitted) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  Child impostor = bed_->run(testing::kPodCgroup, -1, [this] {
    FakeZtunnel ztunnel(zds());
    ztunnel.say(testing::kHelloForListeners);
    return std::string(ztunnel.is_closed() ? "refused" : "admitted");
  });
  EXPECT_EQ(impostor.answer(), "refused");
}

TEST_F(EnrollerTest, NextAgentCleansWhatWasUnlabelledMeanwhile) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  agent_.reset();
  EXPECT_NE(testing::shell_output("ls " + bed_->bpffs() + "/node-1 | grep deliver"), "");
  start_agent({pod_change({.labelled = false, .annotated = true})});
  agent_->becomes("");
  EXPECT_EQ(agent_->annotations(), "u-1=;");
  EXPECT_EQ(agent_->captured(), 0u);
  expect_clean_pod();
}

TEST_F(EnrollerTest, NextAgentCleansWhatWasDeletedMeanwhile) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  agent_.reset();
  start_agent({});
  EXPECT_TRUE(eventually([&] { return agent_->captured() == 0; }));
}

TEST_F(EnrollerTest, WithdrawAllTakesEverythingDown) {
  start_pod();
  start_agent({pod_change({})});
  agent_->becomes("u-1 waiting for ztunnel;");
  agent_->withdraw_all();
  expect_clean_pod();
  EXPECT_EQ(testing::shell_output("ls " + bed_->bpffs() + " | grep node"), "");
  EXPECT_EQ(testing::shell_output("bpftool cgroup show " + bed_->cgroup()), "");
}

// kill -9.

// What processes of a test tell each other.
struct Shared {
  std::atomic<int> connected = 0;
  std::atomic<int> failed = 0;
  std::atomic<int> annotated = 0;
  std::atomic<bool> stop = false;
};

class KilledTest : public EnrollerTest {
 protected:
  void SetUp() override {
    EnrollerTest::SetUp();
    if (IsSkipped()) return;
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    shared_ = new (memory) Shared;
    start_pod();
  }
  void TearDown() override {
    if (shared_ != nullptr) munmap(shared_, sizeof(Shared));
  }

  Child agent_process() {
    return bed_->run("other", -1, [this]() -> std::string {
      const auto loop = std::move(*runtime::Loop::create_best());
      const auto capture = std::move(*Capture::open(
          {.cgroup_root = bed_->cgroup(), .bpffs = bed_->bpffs(), .name = "node-1"}));
      FakeSource source({pod_change({})}, [this](const std::string&, const std::string&) {
        ++shared_->annotated;
        return Result<void>();
      });
      Enroller enroller(
          *loop,
          EnrollerConfig{
              .node = "node-1", .pod_cgroups = bed_->cgroup() + "/pods", .zds_socket = zds()},
          *capture, source, testing::is_labelled);
      if (const auto listened = enroller.listen(); !listened) return listened.error().to_string();
      loop->spawn(enroller.run());
      loop->run();
      return "stopped";
    });
  }
  Child ztunnel_process(const std::string& greeting) {
    return bed_->run("proxy", -1, [this, greeting]() -> std::string {
      testing::serve_as_ztunnel(zds(), greeting);
    });
  }
  // Connects, reads to the end and starts again, until told to stop.
  Child client(const std::string& cgroup, int netns, const std::string& to) {
    return bed_->run(cgroup, netns, [this, to] {
      std::string first_failure;
      while (!shared_->stop) {
        const Fd fd = testing::tcp_socket();
        const int error = testing::connect_to(fd.get(), to);
        const std::string text = error == 0 ? testing::read_text(fd.get()) : strerror(error);
        if (text.starts_with("ztunnel")) {
          ++shared_->connected;
        } else {
          ++shared_->failed;
          if (first_failure.empty()) first_failure = "\"" + text + "\"";
        }
      }
      return first_failure;
    });
  }
  void wait_for_more(int connections) {
    const int wanted = shared_->connected + connections;
    EXPECT_TRUE(eventually([&] { return shared_->connected >= wanted; }));
  }
  std::string slot_sockets() {
    return testing::shell_output("bpftool map dump pinned " + bed_->bpffs() +
                                 "/node-1/map-weft_listeners 2>/dev/null | grep -v -i 'no such'");
  }

  Shared* shared_ = nullptr;
};

TEST_F(KilledTest, AgentLosesNoConnection) {
  std::optional<Child> agent(agent_process());
  const Child ztunnel = ztunnel_process("ztunnel");
  ASSERT_TRUE(eventually([&] { return shared_->annotated == 1; }));
  Child outbound = client(testing::kPodCgroup, bed_->pod(), "10.96.0.7:80");
  Child inbound = client("other", bed_->out(), "10.99.0.2:8080");
  wait_for_more(100);
  const std::string sockets = slot_sockets();
  for (int round = 2; round <= 4; ++round) {
    agent.reset();  // SIGKILL
    wait_for_more(100);
    agent.emplace(agent_process());
    ASSERT_TRUE(eventually([&] { return shared_->annotated == round; }));
    EXPECT_EQ(slot_sockets(), sockets) << "the very same listeners";
    wait_for_more(100);
  }
  shared_->stop = true;
  EXPECT_EQ(outbound.answer(), "");
  EXPECT_EQ(inbound.answer(), "");
  EXPECT_EQ(shared_->failed, 0);
}

TEST_F(KilledTest, ConnectionsWaitForTheNextZtunnel) {
  const Child agent = agent_process();
  std::optional<Child> ztunnel(ztunnel_process("ztunnel one"));
  ASSERT_TRUE(eventually([&] { return shared_->annotated == 1; }));
  Child outbound = client(testing::kPodCgroup, bed_->pod(), "10.96.0.7:80");
  Child inbound = client("other", bed_->out(), "10.99.0.2:8080");
  wait_for_more(100);
  ztunnel.reset();  // SIGKILL
  ztunnel.emplace(ztunnel_process("ztunnel two"));
  wait_for_more(100);
  shared_->stop = true;
  outbound.answer();
  inbound.answer();
  EXPECT_LE(shared_->failed, 2) << "at most what was being served, one a client";
}

}  // namespace
}  // namespace weft::enrol
