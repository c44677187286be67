#include "agent/enrol/pod_capture.h"

#include "agent/enrol/netlink.h"
#include "agent/enrol/netns.h"
#include "agent/enrol/recover.h"
#include "ztunnel/base/log.h"

#include <set>

namespace weft::enrol {
namespace {

constexpr const char* kTarget = "enrol";

}  // namespace

void PodCapturer::recover_listeners() {
  std::set<uint64_t> cookies;
  const Result<std::vector<CapturedPod>> pods = capture_.pods();
  if (!pods || pods->empty()) return;
  for (const CapturedPod& pod : *pods) {
    const Capture::SlotSockets sockets = capture_.slot_sockets(pod.slot);
    for (const uint64_t cookie : sockets) {
      if (cookie != 0) cookies.insert(cookie);
    }
  }
  recovered_ = recover_sockets(cookies, capture_.proxies());
  log::info(kTarget)
      .field("pods", static_cast<int64_t>(pods->size()))
      .field("listeners", static_cast<int64_t>(recovered_.size()))
      .say("taking over what an earlier agent captured");
}

Listeners PodCapturer::take_recovered(uint64_t netns_cookie) {
  const std::optional<CapturedPod> present = capture_.find(netns_cookie);
  if (!present) return {};
  const Capture::SlotSockets sockets = capture_.slot_sockets(present->slot);
  Listeners found;
  bool complete = true;
  for (size_t kind = 0; kind < sockets.size(); ++kind) {
    if (sockets[kind] == 0) continue;
    auto socket = recovered_.extract(sockets[kind]);
    complete = complete && !socket.empty();
    if (!socket.empty()) found.sockets[kind] = std::move(socket.mapped());
  }
  // One alone means that ztunnel was in the middle of something: new ones for all.
  if (!complete) return {};
  return found;
}

Result<Listeners> PodCapturer::prepare_network(int netns_fd, const PodAddresses& pod,
                                               Listeners recovered) {
  return in_netns(netns_fd, [&]() -> Result<Listeners> {
    const std::string interface = TRY(interface_with(pod.first()));
    TRY(add_loop_routes(pod));
    return open_listeners(interface, std::move(recovered));
  });
}

Result<void> PodCapturer::enter(const HeldPod& pod, const Listeners& listeners) {
  return capture_.add({.netns_fd = pod.netns_fd(),
                       .netns_cookie = pod.netns_cookie,
                       .addresses = pod.addresses,
                       .listeners = &listeners,
                       .open_when_empty = open_when_empty_,
                       .dns = pod.dns,
                       .scope = pod.scope});
}

Result<HeldPod> PodCapturer::capture(const PodFacts& pod, Fd netns, bool dns) {
  HeldPod held{.netns_cookie = TRY(netns_cookie(netns.get())),
               .addresses = pod.addresses,
               .netns = std::move(netns),
               .announced = nullptr,
               .dns = dns,
               .scope = pod.scope};
  Result<Listeners> listeners =
      prepare_network(held.netns.get(), pod.addresses, take_recovered(held.netns_cookie));
  const Result<void> added = listeners ? enter(held, *listeners) : Fail(listeners.error());
  if (!added) {
    const bool was_captured = capture_.find(held.netns_cookie).has_value();
    if (!was_captured) (void)clean_network(held);  // the first error is the one that matters
    return Fail(added.error());
  }
  held.announced =
      std::make_shared<const AnnouncedPod>(AnnouncedPod{.uid = pod.uid,
                                                        .name = pod.name,
                                                        .ns = pod.ns,
                                                        .service_account = pod.service_account,
                                                        .netns = std::move(held.netns),
                                                        .listeners = std::move(*listeners),
                                                        .answers_dns = dns});
  return held;
}

Result<HeldPod> PodCapturer::find_captured(const PodFacts& pod) {
  Fd netns = TRY(find_netns(pod));
  const uint64_t cookie = TRY(netns_cookie(netns.get()));
  const std::optional<CapturedPod> present = capture_.find(cookie);
  if (!present) return fail(Code::kNotFound, "pod " + pod.uid + " is not captured");
  return HeldPod{.netns_cookie = cookie,
                 .addresses = present->addresses,
                 .netns = std::move(netns),
                 .announced = nullptr};
}

Result<void> PodCapturer::rescope(HeldPod& pod, compile::CaptureScope scope) {
  std::swap(pod.scope, scope);
  Result<void> entered = enter(pod, pod.announced->listeners);
  if (!entered) std::swap(pod.scope, scope);
  return entered;
}

Result<void> PodCapturer::mark_dns(HeldPod& pod, bool marked) {
  pod.dns = marked;
  Result<void> entered = enter(pod, pod.announced->listeners);
  if (!entered) pod.dns = !marked;
  return entered;
}

Result<void> PodCapturer::loop_dns(const HeldPod& pod, bool looped) {
  return in_netns(pod.netns_fd(), [&] { return looped ? add_dns_rules() : remove_dns_rules(); });
}

Result<void> PodCapturer::stop_capture(const HeldPod& pod) {
  // First: what is looped once nobody takes it any more is lost.
  TRY(loop_dns(pod, false));
  return capture_.remove(pod.netns_cookie);
}

Result<void> PodCapturer::clean_network(const HeldPod& pod) {
  return in_netns(pod.netns_fd(), [] { return remove_loop_routes(); });
}

}  // namespace weft::enrol
