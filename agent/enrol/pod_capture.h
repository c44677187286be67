#pragma once

#include "agent/enrol/capture.h"
#include "agent/enrol/listeners.h"
#include "agent/enrol/pod_addresses.h"
#include "agent/enrol/pod_facts.h"
#include "agent/enrol/pods.h"
#include "agent/enrol/zds_server.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace weft::enrol {

// A pod that is captured, as this agent holds it. While it exists connections queue in the
// listeners even where no ztunnel runs.
struct HeldPod {
  uint64_t netns_cookie = 0;
  PodAddresses addresses;
  Fd netns;                                       // where `announced` has none
  std::shared_ptr<const AnnouncedPod> announced;  // null: only held to be released
  bool dns = false;                               // its datagram sockets are marked
  compile::CaptureScope scope{};

  int netns_fd() const { return announced ? announced->netns.get() : netns.get(); }
};

// The steps that capture one pod and let it go again; each takes milliseconds and waits for nobody.
class PodCapturer {
 public:
  PodCapturer(Capture& capture, std::string pod_cgroups, bool open_when_empty)
      : capture_(capture),
        pod_cgroups_(std::move(pod_cgroups)),
        open_when_empty_(open_when_empty) {}

  // Listeners of pods that an earlier agent captured, taken back from the ztunnels that serve them.
  // Once, before the first capture().
  void recover_listeners();
  // What was taken back and nobody asked for is closed.
  void forget_recovered() { recovered_.clear(); }

  // `netns`: the pod's. kNotFound: its interface has no address yet. `dns`: see mark_dns().
  Result<HeldPod> capture(const PodFacts& pod, Fd netns, bool dns);
  // A pod that an earlier agent captured and that is not to be captured any more. kNotFound: it is
  // not captured, or its processes have gone.
  Result<HeldPod> find_captured(const PodFacts& pod);
  // By the pod's processes. kNotFound: it has none yet.
  Result<Fd> find_netns(const PodFacts& pod) const {
    return find_pod_netns(pod_cgroups_, pod.runtime_uid);
  }
  // Changes which new connections are captured; open ones go on as they are.
  Result<void> rescope(HeldPod& pod, compile::CaptureScope scope);
  // Whether datagram sockets that the pod makes from now on are marked. Alone it changes nothing.
  Result<void> mark_dns(HeldPod& pod, bool marked);
  // Whether what marked sockets send to port 53 comes to the pod's DNS sockets, or goes to the
  // resolver itself.
  Result<void> loop_dns(const HeldPod& pod, bool looped);
  // New connections and queries go as if there were no mesh; open ones through ztunnel go on.
  Result<void> stop_capture(const HeldPod& pod);
  // Rules and routes. Ends what still flows through ztunnel.
  Result<void> clean_network(const HeldPod& pod);

 private:
  Result<Listeners> prepare_network(int netns_fd, const PodAddresses& pod, Listeners recovered);
  Result<void> enter(const HeldPod& pod, const Listeners& listeners);
  Listeners take_recovered(uint64_t netns_cookie);

  Capture& capture_;
  std::string pod_cgroups_;
  bool open_when_empty_;
  std::map<uint64_t, Fd> recovered_;  // by socket cookie
};

}  // namespace weft::enrol
