#pragma once

#include "agent/source/kube/annotate.h"
#include "agent/source/kube/api_client.h"

#include <chrono>
#include <string>

namespace weft::source::kube {

// A Warning on the pod, as `kubectl describe pod` shows it. Tried once: it is told again when it
// happens again. `message` is cut to what an API server takes.
runtime::Task<Result<void>> warn_about_pod(ApiClient& client, PodName pod, std::string reason,
                                           std::string message);

// The event itself, for `now`; pure.
std::string pod_event(const PodName& pod, const std::string& reason, const std::string& message,
                      std::chrono::system_clock::time_point now);

}  // namespace weft::source::kube
