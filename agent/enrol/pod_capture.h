#pragma once

#include "agent/enrol/capture.h"
#include "agent/enrol/listeners.h"
#include "agent/enrol/pod_facts.h"
#include "agent/enrol/zds_server.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"
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
  IpAddress address;
  Fd netns;                                       // where `announced` has none
  std::shared_ptr<const AnnouncedPod> announced;  // null: only held to be released

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

  // kNotFound: the pod has no process, or its interface no address, yet.
  Result<HeldPod> capture(const PodFacts& pod);
  // A pod that an earlier agent captured and that is not to be captured any more. kNotFound: it is
  // not captured, or its processes have gone.
  Result<HeldPod> find_captured(const std::string& uid);
  // New connections go as if there were no mesh; open ones through ztunnel go on.
  Result<void> stop_capture(const HeldPod& pod);
  // Rules and routes. Ends what still flows through ztunnel.
  Result<void> clean_network(const HeldPod& pod);

 private:
  Result<Listeners> prepare_network(int netns_fd, const IpAddress& address, Listeners recovered);
  Listeners take_recovered(uint64_t netns_cookie);

  Capture& capture_;
  std::string pod_cgroups_;
  bool open_when_empty_;
  std::map<uint64_t, Fd> recovered_;  // by socket cookie
};

}  // namespace weft::enrol
