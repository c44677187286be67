#pragma once

#include "agent/enrol/capture.h"
#include "agent/enrol/cni_server.h"
#include "agent/enrol/pod_capture.h"
#include "agent/enrol/pod_facts.h"
#include "agent/enrol/pod_sandbox.h"
#include "agent/enrol/zds_server.h"
#include "agent/source/source.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weft::enrol {

struct EnrollerConfig {
  std::string node;
  std::string pod_cgroups;
  std::string zds_socket;
  bool open_when_empty = false;  // see Capture::Target
  bool dns_capture = false;      // of pods whose annotation does not say
  // How long DNS queries wait for a ztunnel that restarts: more than a restart takes, and less than
  // the 5 s after which glibc asks again, so that its second try reaches the resolver itself.
  std::chrono::milliseconds dns_grace{3'000};
  // How long a pod's start waits for its object and its capture: less than weft-cni waits
  // (cni::kPatience), so that the reason reaches the pod's events.
  std::chrono::milliseconds start_patience{8'000};
};

struct PodStatus {
  std::string uid;
  std::string ns;
  std::string name;
  std::string address;
  // "waiting": for the pod itself, "waiting for ztunnel": captured, connections queue; "captured";
  // "failed"; "leaving".
  std::string state;
  std::string why;                 // of waiting, failed and leaving
  std::vector<std::string> notes;  // mistakes in its annotations, each with its remedy
};

// Keeps this node's pods captured as their labels say, and ztunnels told.
//
// In:  captured (connections queue) -> some ztunnel has accepted it -> annotated, so that others
//      send it HBONE.
// Out: annotation removed -> not captured -> every ztunnel let go of it -> rules, routes,
// listeners.
// DNS: captured while a ztunnel is there that serves the pod's DNS socket; where none comes back in
// time, queries go to the resolver itself, as before.
//
// A pod whose sandbox weft-cni tells of is captured before any of its containers; others by their
// processes: those that ran before the agent, and those of namespaces that weft-cni does not hold
// up.
//
// Each pod has at most one task, which compares what is wanted with what is, takes one step and
// looks again; so labels may change at any moment. Belongs to one loop.
class Enroller final : public ZdsServer::Observer, public CniServer::Handler {
 public:
  Enroller(runtime::Loop& loop, EnrollerConfig config, Capture& capture, source::Source& source,
           IsToBeEnrolled is_to_be_enrolled);
  ~Enroller() override;

  Result<void> listen() { return server_.listen(); }
  runtime::Task<void> run();  // until stop(); capture stays in place
  void stop();
  // Lets every pod go, as if none were labelled, and takes capture down. Before stop().
  runtime::Task<void> withdraw_all();

  std::vector<PodStatus> pods() const;
  std::vector<ZtunnelStatus> ztunnels() const { return server_.ztunnels(); }
  // Whether the source has told of all pods once.
  bool has_started() const { return started_; }

  Result<void> ztunnel_arrived(pid_t pid) override;
  void ztunnel_left(pid_t pid) override;
  void pod_told(const std::string& uid) override;

  runtime::Task<Result<bool>> sandbox_made(PodSandbox sandbox) override;
  Result<bool> is_captured(const PodSandbox& sandbox) const override;
  void sandbox_gone(PodSandbox sandbox) override;

 private:
  struct Entry {
    PodFacts facts;
    bool present = true;  // the object exists
    bool wanted = false;
    std::optional<HeldPod> held;
    std::optional<PodSandbox> sandbox;  // the present one, where weft-cni told of it
    uint64_t ended_netns = 0;           // of the latest sandbox that has gone
    bool annotated = false;
    // Whether the pod's queries come to its DNS sockets; at first nobody knows: an earlier agent
    // may have seen to it.
    std::optional<bool> dns_looped;
    runtime::TimerId dns_wait = 0;  // for a ztunnel that serves them
    bool dns_waited = false;        // long enough
    bool driving = false;
    bool again = false;
    bool leaving = false;
    std::string failure;
    Code failure_code = Code::kNotFound;
    std::chrono::milliseconds retry_delay{0};
    runtime::TimerId retry = 0;
    runtime::Event changed;
  };

  static void tell_mistakes(const PodFacts& before, const PodFacts& now);
  void take_changes(const std::vector<source::Change>& changes);
  void update_entries();
  void drop_orphans();
  void kick(const std::string& uid);
  runtime::Task<void> drive(std::string uid);
  runtime::Task<Result<void>> step(Entry& entry);
  Result<void> enter(Entry& entry);
  Result<Fd> netns_of(const Entry& entry) const;
  static bool is_sandbox_over(const Entry& entry);
  void release(Entry& entry);
  const PodFacts* find_pod(const PodSandbox& sandbox) const;
  std::optional<Result<bool>> start_state(const PodSandbox& told, PodSandbox& sandbox);
  std::string why_not_started(const PodSandbox& told) const;
  runtime::Task<Result<void>> leave(Entry& entry);
  bool wants_dns(const Entry& entry) const;
  Result<void> settle_dns(Entry& entry);
  bool waits_for_dns_server(Entry& entry);
  runtime::Task<Result<void>> annotate(Entry& entry, bool enabled);
  runtime::Task<void> wait_until_let_go(Entry& entry);
  void retry_later(Entry& entry, const Error& error);
  runtime::Task<void> warn(PodFacts facts, std::string text);
  Result<void> check_ztunnel_cgroup(const std::string& cgroup) const;

  runtime::Loop& loop_;
  EnrollerConfig config_;
  Capture& capture_;
  source::Source& source_;
  PodIndex index_;
  PodCapturer capturer_;
  ZdsServer server_;
  bool started_ = false;  // the first batch of objects has come
  bool withdrawing_ = false;
  bool stopped_ = false;
  std::map<std::string, std::unique_ptr<Entry>> entries_;  // by uid
  std::map<pid_t, uint64_t> ztunnel_cgroups_;
  runtime::Event emptied_;
  runtime::Event moved_;  // objects came, or a pod's task has done what it could
  runtime::TaskScope tasks_;
};

}  // namespace weft::enrol
