#pragma once

#include "agent/enrol/enroller.h"
#include "tests/unit/agent/enrol/fake_source.h"
#include "tests/unit/agent/enrol/fake_ztunnel.h"
#include "tests/unit/agent/enrol/loop_thread.h"
#include "tests/unit/agent/enrol/testbed.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

// A node agent without its files and flags, with a pod, a source and a ztunnel by hand.

namespace weft::enrol::testing {

// Waits for something that another thread or process brings about; false after 10 s.
template <class Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) return true;
    usleep(1'000);
  }
  return false;
}

constexpr std::chrono::milliseconds kStartPatience{1'000};

// An agent without its files and flags, on a loop of its own thread.
class Agent {
 public:
  Agent(const Testbed& bed, std::vector<source::Change> first) {
    thread_.on_loop([&] {
      auto opened =
          Capture::open({.cgroup_root = bed.cgroup(), .bpffs = bed.bpffs(), .name = "node-1"});
      ASSERT_TRUE(opened) << opened.error().to_string();
      capture_ = std::move(*opened);
      source_ = std::make_unique<FakeSource>(
          std::move(first), [this](const std::string& uid, const std::string& value) {
            return annotate(uid, value);
          });
      enroller_ =
          std::make_unique<Enroller>(thread_.loop(),
                                     EnrollerConfig{.node = "node-1",
                                                    .pod_cgroups = bed.cgroup() + "/pods",
                                                    .zds_socket = bed.folder() + "/zds.sock",
                                                    .dns_grace = std::chrono::milliseconds(300),
                                                    .start_patience = kStartPatience},
                                     *capture_, *source_, is_labelled);
      const auto listened = enroller_->listen();
      ASSERT_TRUE(listened) << listened.error().to_string();
      runs_.spawn(enroller_->run());
      cni_ = std::make_unique<CniServer>(thread_.loop(), bed.folder() + "/cni.sock", *enroller_);
      ASSERT_TRUE(cni_->listen());
      runs_.spawn(cni_->run());
    });
  }
  ~Agent() {
    thread_.on_loop([this] {
      cni_->stop();
      enroller_->stop();
    });
    thread_.run(runs_.join());
    thread_.on_loop([this] {
      cni_.reset();
      enroller_.reset();
      source_.reset();
      capture_.reset();
    });
  }

  void push(source::Change change) {
    thread_.on_loop([&] { source_->push(std::move(change)); });
  }
  void withdraw_all() { thread_.run(enroller_->withdraw_all()); }
  // "uid state", of every pod.
  std::string states() {
    return thread_.on_loop([this] {
      std::string text;
      for (const PodStatus& pod : enroller_->pods()) text += pod.uid + " " + pod.state + ";";
      return text;
    });
  }
  bool becomes(const std::string& wanted) {
    const bool came = eventually([&] { return states() == wanted; });
    if (!came) ADD_FAILURE() << "is \"" << states() << "\", expected \"" << wanted << "\"";
    return came;
  }
  std::string why() {
    return thread_.on_loop([this] { return enroller_->pods().at(0).why; });
  }
  size_t captured() {
    return thread_.on_loop([this] { return capture_->pods()->size(); });
  }
  std::string annotations() {
    const std::scoped_lock lock(mutex_);
    return annotations_;
  }
  void refuse_annotations(bool refuse) { refuse_annotations_ = refuse; }

 private:
  Result<void> annotate(const std::string& uid, const std::string& value) {
    if (refuse_annotations_) return fail(Code::kUnavailable, "the API server is away");
    const std::scoped_lock lock(mutex_);
    annotations_ += uid + "=" + value + ";";
    return {};
  }

  std::mutex mutex_;
  std::string annotations_;
  std::atomic<bool> refuse_annotations_ = false;
  std::unique_ptr<Capture> capture_;
  std::unique_ptr<FakeSource> source_;
  std::unique_ptr<Enroller> enroller_;
  std::unique_ptr<CniServer> cni_;
  runtime::TaskScope runs_;
  LoopThread thread_;
};

class EnrollerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = missing_for_capture();
    if (!missing.empty()) GTEST_SKIP() << "needs " << missing;
    bed_.emplace();
  }

  void start_pod() {
    process_.emplace(bed_->run(kPodCgroup, bed_->pod(), []() -> std::string {
      while (true) pause();
    }));
  }
  void start_agent(std::vector<source::Change> first) { agent_.emplace(*bed_, std::move(first)); }
  std::string zds() const { return bed_->folder() + "/zds.sock"; }

  // Connects as ztunnel, takes the pod, acknowledges everything up to the snapshot.
  std::vector<Fd> connect_ztunnel() {
    ztunnel_.emplace(zds());
    ztunnel_->say(kHelloForListeners);
    auto add = ztunnel_->next();
    if (!add || !add->request.has_add()) return {};
    ztunnel_->ack();
    auto snapshot = ztunnel_->next();
    EXPECT_TRUE(snapshot && snapshot->request.has_snapshot_sent());
    ztunnel_->ack();
    return std::move(add->descriptors);
  }

  // Nothing of ours is left in the pod's namespace or in the pins.
  void expect_clean_pod() {
    const std::string pod = "ip -n " + bed_->pod_name();
    EXPECT_EQ(shell_output(pod + " rule | grep fwmark"), "");
    EXPECT_EQ(shell_output(pod + " route show table 100 2>/dev/null"), "");
    EXPECT_EQ(shell_output("ls " + bed_->bpffs() + "/node-1 2>/dev/null | grep deliver"), "");
    EXPECT_EQ(shell_output("ip netns exec " + bed_->pod_name() + " ss -Hltn"), "");
  }

  std::optional<Testbed> bed_;
  std::optional<Child> process_;
  std::optional<Agent> agent_;
  std::optional<FakeZtunnel> ztunnel_;
};

}  // namespace weft::enrol::testing
