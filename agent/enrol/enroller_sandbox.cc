// What weft-cni tells the enroller.
#include "agent/enrol/enroller.h"
#include "agent/enrol/netns.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>

#include <cerrno>

namespace weft::enrol {
namespace {

constexpr const char* kTarget = "enrol";

}  // namespace

// The object's name is not enough: a StatefulSet makes pods of the same name, and the object that
// is known may still be the one before.
const PodFacts* Enroller::find_pod(const PodSandbox& sandbox) const {
  for (const auto& [uid, facts] : index_.pods()) {
    if (facts.ns != sandbox.ns || facts.name != sandbox.name) continue;
    if (sandbox.uid.empty() || sandbox.uid == facts.runtime_uid) return &facts;
  }
  return nullptr;
}

runtime::Task<Result<bool>> Enroller::sandbox_made(PodSandbox sandbox) {
  const runtime::Deadline deadline(loop_, config_.start_patience, [this] { moved_.wake(); });
  const PodSandbox told{.container = sandbox.container,
                        .ns = sandbox.ns,
                        .name = sandbox.name,
                        .uid = sandbox.uid,
                        .addresses = sandbox.addresses,
                        .netns = {},
                        .netns_cookie = sandbox.netns_cookie};
  while (true) {
    std::optional<Result<bool>> state = start_state(told, sandbox);
    if (state) co_return std::move(*state);
    if (stopped_) co_return fail(Code::kCancelled, "the node agent ends; another one will answer");
    if (deadline.expired()) co_return fail(Code::kTimeout, why_not_started(told));
    co_await moved_.wait();
  }
}

// How far the start of this sandbox is; nothing: not decided yet. Only an object that says so keeps
// a pod out of the mesh: what is not known, or not settled yet, does not. `sandbox` is taken over
// once the pod has an entry.
std::optional<Result<bool>> Enroller::start_state(const PodSandbox& told, PodSandbox& sandbox) {
  const PodFacts* facts = find_pod(told);
  if (facts == nullptr) return std::nullopt;
  if (!facts->wanted || withdrawing_) return false;
  const auto found = entries_.find(facts->uid);
  if (found == entries_.end() || !found->second->wanted) return std::nullopt;
  Entry& entry = *found->second;
  if (sandbox.netns) {
    if (!told.addresses.empty()) entry.facts.addresses = told.addresses;
    entry.sandbox = std::move(sandbox);
    entry.failure.clear();
    kick(facts->uid);
  }
  if (entry.held && entry.held->announced && entry.held->netns_cookie == told.netns_cookie) {
    return true;
  }
  if (entry.driving || entry.failure.empty()) return std::nullopt;
  return fail(entry.failure_code, "the pod cannot be captured: " + entry.failure);
}

std::string Enroller::why_not_started(const PodSandbox& told) const {
  if (find_pod(told) != nullptr) return "the pod could not be captured in time";
  return "no object of pod " + told.ns + "/" + told.name + " has come from the API server in " +
         std::to_string(config_.start_patience.count() / 1'000) +
         " s: does the node agent reach it?";
}

Result<bool> Enroller::is_captured(const PodSandbox& sandbox) const {
  const PodFacts* facts = find_pod(sandbox);
  if (facts == nullptr) return fail(Code::kNotFound, "the pod is not known");
  if (!facts->wanted || withdrawing_) return false;
  const auto found = entries_.find(facts->uid);
  if (found != entries_.end() && found->second->held) return true;
  return fail(Code::kUnavailable, "the pod is not captured yet");
}

// Its processes have ended; the pod itself may get another one, or is on its way out. Nothing that
// is not there to be found is an error: what is left goes with the object.
void Enroller::sandbox_gone(PodSandbox sandbox) {
  const PodFacts* facts = find_pod(sandbox);
  const auto found = facts == nullptr ? entries_.end() : entries_.find(facts->uid);
  if (found == entries_.end()) return;
  Entry& entry = *found->second;
  const bool is_present = entry.sandbox && entry.sandbox->container == sandbox.container;
  const uint64_t cookie = is_present ? entry.sandbox->netns_cookie : sandbox.netns_cookie;
  if (cookie == 0) return;
  entry.ended_netns = cookie;
  if (entry.sandbox && entry.sandbox->netns_cookie == cookie) entry.sandbox.reset();
  kick(found->first);
}

bool Enroller::is_sandbox_over(const Entry& entry) {
  if (!entry.held) return false;
  const uint64_t held = entry.held->netns_cookie;
  return held == entry.ended_netns || (entry.sandbox && entry.sandbox->netns_cookie != held);
}

// Nobody is left whose connections could be cut, and nobody can reach the pod there, so nothing is
// waited for and the annotation may stay: with another sandbox the pod is captured as before.
void Enroller::release(Entry& entry) {
  const Result<void> stopped = capturer_.stop_capture(*entry.held);
  log::info(kTarget)
      .field("pod", entry.facts.ns + "/" + entry.facts.name)
      .field("result", stopped ? "done" : stopped.error().to_string())
      .say("the pod's sandbox has ended");
  server_.retire(entry.facts.uid);
  entry.held.reset();
  entry.dns_looped.reset();
}

Result<Fd> Enroller::netns_of(const Entry& entry) const {
  if (entry.sandbox) {
    Fd netns(fcntl(entry.sandbox->netns.get(), F_DUPFD_CLOEXEC, 0));
    if (!netns) return fail_errno(errno, "keeping the pod's network namespace");
    return netns;
  }
  Fd netns = TRY(capturer_.find_netns(entry.facts));
  if (entry.ended_netns != 0 && TRY(netns_cookie(netns.get())) == entry.ended_netns) {
    return fail(Code::kNotFound, "the pod's sandbox has ended and there is no other one yet");
  }
  return netns;
}

}  // namespace weft::enrol
