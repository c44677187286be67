#pragma once

#include "agent/source/kube/api_client.h"

#include <string>

namespace weft::source::kube {

struct PodName {
  std::string ns;
  std::string name;
  std::string uid;
};

// Sets (or, with an empty value, removes) one annotation, by a merge patch of pods/status, which
// leaves a spec alone and needs no right to change one. kNotFound: the pod is gone, or another one
// has its name now. Tries again for a few seconds where the server is busy or away.
runtime::Task<Result<void>> annotate_pod(ApiClient& client, PodName pod, std::string key,
                                         std::string value);

}  // namespace weft::source::kube
