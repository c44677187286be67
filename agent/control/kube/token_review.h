#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <string_view>

namespace weft::control::kube {

// authentication.k8s.io/v1 TokenReview, as texts.

std::string review_request(std::string_view token);

// Who an API server says shows the token.
struct Reviewed {
  std::string subject;  // "system:serviceaccount:<ns>:<name>"
  std::string ns;       // of the account
  std::string node;     // where its pod runs; empty: the server does not say (before 1.30)
  std::string pod;      // that it is bound to; empty: to none
  std::string pod_uid;
};
// kRefused: the token is not good, not for us, or not a service account's. kInvalid: no answer of
// that kind.
Result<Reviewed> read_review(std::string_view json);

// The node of a pod (the object's JSON) that must still be the one with this uid. kRefused: it is
// not, or runs nowhere yet.
Result<std::string> node_of_pod(std::string_view json, std::string_view uid);

}  // namespace weft::control::kube
