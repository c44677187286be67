#include "agent/enrol/enroller.h"

#include "agent/compile/compiler.h"
#include "agent/enrol/cgroups.h"
#include "agent/enrol/pods.h"
#include "ztunnel/base/log.h"

#include <algorithm>
#include <sstream>

namespace weft::enrol {
namespace {

using std::chrono::milliseconds;

constexpr const char* kTarget = "enrol";
// A pod's process appears some 100 ms after its object; what fails for long is looked at rarely.
constexpr milliseconds kRetryFirst{100};
constexpr milliseconds kRetryMost{5'000};
// A ztunnel that does not confirm in its 10 s is disconnected, and then knows of no pod.
constexpr milliseconds kLetGoTimeout{15'000};
constexpr milliseconds kWithdrawTimeout{30'000};

bool is_same_pod(const HeldPod& held, const PodFacts& facts) {
  const AnnouncedPod* announced = held.announced.get();
  return announced != nullptr && held.addresses == facts.addresses &&
         announced->name == facts.name && announced->ns == facts.ns &&
         announced->service_account == facts.service_account;
}

}  // namespace

Enroller::Enroller(runtime::Loop& loop, EnrollerConfig config, Capture& capture,
                   source::Source& source, IsToBeEnrolled is_to_be_enrolled)
    : loop_(loop),
      config_(std::move(config)),
      capture_(capture),
      source_(source),
      index_(config_.node, std::move(is_to_be_enrolled)),
      capturer_(capture, config_.pod_cgroups, config_.open_when_empty),
      server_(loop, config_.zds_socket, *this) {}

Enroller::~Enroller() {
  for (const auto& [uid, entry] : entries_) {
    loop_.unschedule(entry->retry);
    loop_.unschedule(entry->dns_wait);
  }
}

runtime::Task<void> Enroller::run() {
  capturer_.recover_listeners();
  tasks_.spawn(server_.run());
  tasks_.spawn(source_.watch(
      [this](const std::vector<source::Change>& changes) { take_changes(changes); },
      [](const Error& error) {
        log::warn(kTarget).field("error", error.to_string()).say("an object cannot be read");
      }));
  co_await tasks_.join();
}

void Enroller::stop() {
  stopped_ = true;
  source_.stop();
  server_.stop();
  for (const auto& [uid, entry] : entries_) {
    loop_.unschedule(std::exchange(entry->retry, 0));
    loop_.unschedule(std::exchange(entry->dns_wait, 0));
    entry->changed.wake();
  }
  moved_.wake();
}

void Enroller::take_changes(const std::vector<source::Change>& changes) {
  if (stopped_) return;
  index_.apply(changes);
  update_entries();
  drop_orphans();
  if (!std::exchange(started_, true)) {
    capturer_.forget_recovered();
    server_.set_complete();
  }
  moved_.wake();
}

void Enroller::update_entries() {
  std::set<std::string> uids;
  for (const auto& [uid, entry] : entries_) uids.insert(uid);
  // Captured, but by an earlier agent, which died before it could annotate or let go.
  std::set<IpAddress> captured;
  if (const Result<std::vector<CapturedPod>> pods = capture_.pods()) {
    for (const CapturedPod& pod : *pods) captured.insert(pod.addresses.first());
  }
  for (const auto& [uid, facts] : index_.pods()) {
    const bool is_in = facts.annotated || captured.contains(facts.addresses.first());
    if (is_in || (facts.wanted && !withdrawing_)) uids.insert(uid);
  }
  for (const std::string& uid : uids) {
    std::unique_ptr<Entry>& entry = entries_[uid];
    const auto facts = index_.pods().find(uid);
    const bool is_new = !entry;
    if (is_new) entry = std::make_unique<Entry>();
    entry->present = facts != index_.pods().end();
    if (entry->present) {
      tell_mistakes(entry->facts, facts->second);
      entry->facts = facts->second;
      // The object is told of a new sandbox's address later.
      if (entry->sandbox) entry->facts.addresses = entry->sandbox->addresses;
    }
    if (is_new) entry->annotated = entry->facts.annotated;
    entry->wanted = entry->present && entry->facts.wanted && !withdrawing_;
    kick(uid);
  }
}

void Enroller::tell_mistakes(const PodFacts& before, const PodFacts& now) {
  if (before.mistakes == now.mistakes) return;
  for (const compile::AnnotationMistake& mistake : now.mistakes) {
    log::warn(kTarget).field("pod", now.ns + "/" + now.name).say(mistake.to_string());
  }
}

// What an earlier agent captured, of pods that went, or lost their label, while no agent ran. An
// address that a pod of ours has is kept: that pod is about to take its capture over.
void Enroller::drop_orphans() {
  const Result<std::vector<CapturedPod>> captured = capture_.pods();
  if (!captured) return;
  std::set<uint64_t> held;
  std::set<IpAddress> addresses;
  for (const auto& [uid, entry] : entries_) {
    if (entry->held) held.insert(entry->held->netns_cookie);
    if (entry->present) addresses.insert(entry->facts.addresses.first());
  }
  for (const CapturedPod& pod : *captured) {
    if (held.contains(pod.netns_cookie) || addresses.contains(pod.addresses.first())) continue;
    const Result<void> removed = capture_.remove(pod.netns_cookie);
    log::info(kTarget)
        .field("address", pod.addresses.to_string())
        .field("result", removed ? "removed" : removed.error().to_string())
        .say("capture of a pod that is gone");
  }
}

// One pod.

void Enroller::kick(const std::string& uid) {
  const auto found = entries_.find(uid);
  if (found == entries_.end() || stopped_) return;
  Entry& entry = *found->second;
  loop_.unschedule(std::exchange(entry.retry, 0));
  entry.again = true;
  if (entry.driving) {
    entry.changed.wake();
  } else {
    tasks_.spawn(drive(uid));
  }
}

runtime::Task<void> Enroller::drive(std::string uid) {
  Entry& entry = *entries_.at(uid);
  entry.driving = true;
  while (std::exchange(entry.again, false) && !stopped_) {
    const Result<void> done = co_await step(entry);
    if (done) {
      entry.failure.clear();
      entry.retry_delay = milliseconds(0);
    } else if (!entry.again) {
      retry_later(entry, done.error());
    }
  }
  entry.driving = false;
  const bool is_over = !entry.wanted && !entry.held && !entry.annotated;
  if (is_over && !stopped_) {
    loop_.unschedule(entry.retry);
    loop_.unschedule(entry.dns_wait);
    entries_.erase(uid);
    if (entries_.empty()) emptied_.wake();
  }
  moved_.wake();
}

runtime::Task<Result<void>> Enroller::step(Entry& entry) {
  if (is_sandbox_over(entry)) release(entry);
  if (!entry.wanted) co_return co_await leave(entry);
  if (entry.held && !is_same_pod(*entry.held, entry.facts)) CO_TRY(co_await leave(entry));
  if (!entry.held) CO_TRY(enter(entry));
  if (entry.held->scope != entry.facts.scope) {
    CO_TRY(capturer_.rescope(*entry.held, entry.facts.scope));
  }
  CO_TRY(settle_dns(entry));
  if (server_.is_acked(entry.facts.uid) && !entry.annotated) {
    CO_TRY(co_await annotate(entry, true));
  }
  co_return Result<void>();
}

Result<void> Enroller::enter(Entry& entry) {
  if (entry.facts.addresses.empty()) {
    return fail(Code::kNotFound, "the pod has no address yet (status.podIP)");
  }
  Fd netns = TRY(netns_of(entry));
  entry.held = TRY(capturer_.capture(entry.facts, std::move(netns), wants_dns(entry)));
  log::info(kTarget)
      .field("pod", entry.facts.ns + "/" + entry.facts.name)
      .field("address", entry.facts.addresses.to_string())
      .say("captured");
  server_.announce(entry.held->announced);
  return {};
}

bool Enroller::wants_dns(const Entry& entry) const {
  return entry.facts.dns_capture.value_or(config_.dns_capture);
}

// A rule that sends queries to a socket that nobody reads would cost the pod its DNS.
Result<void> Enroller::settle_dns(Entry& entry) {
  const bool wanted = wants_dns(entry);
  const bool looped = wanted && server_.is_served(entry.facts.uid);
  if (wanted && !looped && waits_for_dns_server(entry)) return {};
  loop_.unschedule(std::exchange(entry.dns_wait, 0));
  entry.dns_waited = false;
  if (entry.dns_looped != looped) {
    TRY(capturer_.loop_dns(*entry.held, looped));
    entry.dns_looped = looped;
  }
  if (entry.held->dns != wanted) TRY(capturer_.mark_dns(*entry.held, wanted));
  return {};
}

bool Enroller::waits_for_dns_server(Entry& entry) {
  if (entry.dns_looped == false || entry.dns_waited) return false;
  if (entry.dns_wait != 0) return true;
  entry.dns_wait = loop_.schedule(config_.dns_grace, [this, uid = entry.facts.uid] {
    Entry& waiting = *entries_.at(uid);
    waiting.dns_wait = 0;
    waiting.dns_waited = true;
    kick(uid);
  });
  return true;
}

runtime::Task<Result<void>> Enroller::leave(Entry& entry) {
  entry.leaving = true;
  if (entry.annotated) CO_TRY(co_await annotate(entry, false));
  if (!entry.held) {
    // Captured by an earlier agent; not found means that there is nothing to let go of.
    Result<HeldPod> captured = capturer_.find_captured(entry.facts);
    if (captured) entry.held = std::move(*captured);
  }
  if (entry.held) {
    CO_TRY(capturer_.stop_capture(*entry.held));
    entry.dns_looped = false;
    server_.retire(entry.facts.uid);
    co_await wait_until_let_go(entry);
    if (stopped_) co_return fail(Code::kCancelled, "stopped");
    CO_TRY(capturer_.clean_network(*entry.held));
    entry.held.reset();
    log::info(kTarget)
        .field("pod", entry.facts.ns + "/" + entry.facts.name)
        .say("not captured any more");
  }
  entry.leaving = false;
  co_return Result<void>();
}

runtime::Task<void> Enroller::wait_until_let_go(Entry& entry) {
  const runtime::Deadline deadline(loop_, kLetGoTimeout, [&entry] { entry.changed.wake(); });
  while (server_.is_known(entry.facts.uid) && !deadline.expired() && !stopped_) {
    co_await entry.changed.wait();
  }
}

// The annotation of a pod that is gone went with it.
runtime::Task<Result<void>> Enroller::annotate(Entry& entry, bool enabled) {
  if (entry.present) {
    const PodFacts facts = entry.facts;
    CO_TRY(co_await source_.annotate_pod(facts.ns, facts.name, facts.uid,
                                         compile::kRedirectionAnnotation,
                                         enabled ? "enabled" : ""));
  }
  entry.annotated = enabled;
  co_return Result<void>();
}

void Enroller::retry_later(Entry& entry, const Error& error) {
  if (stopped_) return;
  const std::string text = error.to_string();
  if (text != entry.failure && error.code != Code::kNotFound) {
    log::warn(kTarget)
        .field("pod", entry.facts.ns + "/" + entry.facts.name)
        .field("error", text)
        .say("trying again");
    if (entry.present && !entry.held) tasks_.spawn(warn(entry.facts, text));
  }
  entry.failure = text;
  entry.failure_code = error.code;
  entry.retry_delay = std::clamp(entry.retry_delay * 2, kRetryFirst, kRetryMost);
  entry.retry = loop_.schedule(entry.retry_delay, [this, uid = entry.facts.uid] {
    entries_.at(uid)->retry = 0;
    kick(uid);
  });
}

// On the pod itself, where its owner looks. Once a reason: what fails again the same way is no
// news.
runtime::Task<void> Enroller::warn(PodFacts facts, std::string text) {
  const Result<void> told =
      co_await source_.warn_about_pod(facts.ns, facts.name, facts.uid, "NotCaptured",
                                      "the mesh cannot capture this pod, and tries again: " + text);
  if (told) co_return;
  log::warn(kTarget).field("error", told.error().to_string()).say("an event was not written");
}

// ztunnels.

// The pod's cgroup must not become the proxy's: everything in it would bypass capture.
Result<void> Enroller::check_ztunnel_cgroup(const std::string& cgroup) const {
  std::istringstream parts(cgroup);
  std::string part;
  while (std::getline(parts, part, '/')) {
    for (const auto& [uid, entry] : entries_) {
      if (!entry->wanted || !names_pod(part, entry->facts.runtime_uid)) continue;
      return fail(Code::kRefused, "it runs in the cgroup of the enrolled pod " + entry->facts.ns +
                                      "/" + entry->facts.name);
    }
  }
  return {};
}

Result<void> Enroller::ztunnel_arrived(pid_t pid) {
  if (pid <= 0) {
    return fail(Code::kUnsupported,
                "ztunnel's process is not visible here: the agent needs the host's pid namespace");
  }
  const std::string cgroup = TRY(cgroup_of(pid));
  TRY(check_ztunnel_cgroup(cgroup));
  const std::string root = TRY(find_cgroup2_mount());
  const uint64_t id = TRY(cgroup_id(root + cgroup));
  Result<void> added = capture_.add_proxy(id);
  if (!added && added.error().code == Code::kLimit) {
    std::set<uint64_t> connected;
    for (const auto& [other, other_id] : ztunnel_cgroups_) connected.insert(other_id);
    for (const uint64_t known : capture_.proxies()) {
      if (!connected.contains(known)) TRY(capture_.remove_proxy(known));
    }
    added = capture_.add_proxy(id);
  }
  if (added) ztunnel_cgroups_[pid] = id;
  return added;
}

// Its cgroup stays known: it may have closed this connection and still be draining.
void Enroller::ztunnel_left(pid_t pid) {
  ztunnel_cgroups_.erase(pid);
  std::vector<std::string> uids;  // a kicked pod may end, and leave the table
  for (const auto& [uid, entry] : entries_) uids.push_back(uid);
  for (const std::string& uid : uids) kick(uid);
}

void Enroller::pod_told(const std::string& uid) { kick(uid); }

// Ending and status.

runtime::Task<void> Enroller::withdraw_all() {
  withdrawing_ = true;
  update_entries();
  runtime::Event& emptied = emptied_;
  const runtime::Deadline deadline(loop_, kWithdrawTimeout, [&emptied] { emptied.wake(); });
  while (!entries_.empty() && !deadline.expired()) co_await emptied_.wait();
  const Result<void> withdrawn = capture_.withdraw_all();
  log::info(kTarget)
      .field("pods left", static_cast<int64_t>(entries_.size()))
      .field("result", withdrawn ? "done" : withdrawn.error().to_string())
      .say("capture was taken down");
}

std::vector<PodStatus> Enroller::pods() const {
  std::vector<PodStatus> all;
  for (const auto& [uid, entry] : entries_) {
    PodStatus status{.uid = uid,
                     .ns = entry->facts.ns,
                     .name = entry->facts.name,
                     .address = entry->facts.addresses.to_string(),
                     .state = "captured",
                     .why = entry->failure,
                     .notes = {}};
    for (const auto& mistake : entry->facts.mistakes) status.notes.push_back(mistake.to_string());
    if (entry->leaving || !entry->wanted) {
      status.state = "leaving";
    } else if (!entry->held) {
      status.state = entry->failure_code == Code::kNotFound ? "waiting" : "failed";
    } else if (!server_.is_acked(uid)) {
      status.state = "waiting for ztunnel";
    }
    all.push_back(std::move(status));
  }
  return all;
}

}  // namespace weft::enrol
