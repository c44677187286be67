#pragma once

#include "ztunnel/base/result.h"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

// What weft-cni does when a container runtime calls it, without its environment and sockets. CNI
// specification 1.1 (sections 2 to 5): the runtime calls every plugin of a network's list in turn;
// this one stands behind the one that makes the pod's interface, and hands that one's result on
// untouched.

namespace weft::cni {

// A configuration is some hundred bytes, a previous result at most as many routes as a pod has.
constexpr size_t kConfigBytesMax = 128 * 1024;
constexpr size_t kArgsBytesMax = 4096;  // CNI_ARGS: names of at most 253 bytes each

// How long a pod's start waits for the agent: one that is being replaced listens again after some
// seconds. Far below the runtime's own bound (2 min), and the kubelet tries a failed start again.
constexpr std::chrono::milliseconds kPatience{10'000};
// Where the pod starts (or ends) whatever the agent says.
constexpr std::chrono::milliseconds kCourtesy{1'000};

// How the runtime called: CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS; stdin.
struct Call {
  std::string command = {};
  std::string container = {};
  std::string netns = {};  // a path
  std::string interface = {};
  std::string args = {};
  std::string config = {};
};

// One question to the node agent (message.h).
struct Question {
  std::string socket;
  std::string text;
  std::string netns = {};  // a path, whose descriptor goes along; empty: none
  std::chrono::milliseconds patience{};
  bool insists = false;  // asks again, within its patience, where no agent answers
};
using AskAgent = std::function<Result<std::string>(const Question&)>;

struct Reply {
  int exit_code = 0;
  std::string text;  // for stdout
};

Reply run_plugin(const Call& call, const AskAgent& ask);

// The pod that CNI_ARGS names ("K8S_POD_NAMESPACE=shop;K8S_POD_NAME=users-0;.."); without a name:
// no pod of Kubernetes.
struct PodName {
  std::string ns;
  std::string name;
  std::string uid;
};
Result<PodName> parse_pod_name(std::string_view args);

}  // namespace weft::cni
