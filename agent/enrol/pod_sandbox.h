#pragma once

#include "agent/enrol/pod_addresses.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace weft::enrol {

// A pod's sandbox, as the container runtime tells of it by weft-cni: its network is there, and none
// of its containers yet (or any more).
struct PodSandbox {
  enum class Command { kAdd, kDelete, kCheck };

  Command command = Command::kAdd;
  std::string container;  // the runtime's name for it
  std::string ns;
  std::string name;
  std::string uid;         // as the runtime knows it, see PodFacts::runtime_uid; may be empty
  PodAddresses addresses;  // of the pod's interface
  Fd netns;                // none where a deleted one's has gone already
  uint64_t netns_cookie = 0;
};

// A question of weft-cni (agent/cni/message.h) without its descriptor; pure. kInvalid names the
// member and what was expected.
Result<PodSandbox> parse_cni_question(std::string_view text);

// The answer: whether the pod is captured, or why it may not start.
std::string cni_answer(const Result<bool>& captured);

}  // namespace weft::enrol
