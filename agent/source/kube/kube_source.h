#pragma once

#include "agent/source/kube/api_client.h"
#include "agent/source/kube/resources.h"
#include "agent/source/source.h"
#include "agent/source/status.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::source::kube {

// Objects from a Kubernetes API server: every resource is listed, then watched. CRDs that are not
// installed are no error, and are noticed when they come.
//
// The first batch is complete: it waits until every resource that the server has was listed. What
// cannot be listed (a missing RBAC rule) is told to on_error, and is tried again until it can.
// `client` must outlive the source, and be stopped after it. annotate_pod is a PATCH of pods/status
// with the uid as its precondition.
std::unique_ptr<Source> make_kube_source(ApiClient& client, std::vector<Resource> resources);

// Conditions by server-side apply on the status subresource, in Istio's shape (istio.io/api
// meta/v1alpha1 IstioStatus), only where the server's differ; lastTransitionTime moves only with a
// condition's status. write() queues: the newest conditions of an object count, and are tried
// until the server takes them. `source` is one of make_kube_source's, and tells what the server
// has; both must outlive the writer.
class KubeStatusWriter : public StatusWriter {
 public:
  // Objects whose status waits to be written. Past it write() fails with kLimit: somebody floods.
  static constexpr size_t kWaitingMax = 20'000;

  // Writes what is queued, until stop(). Statuses are only written while `active`: one of several
  // replicas is (see the Lease).
  virtual runtime::Task<void> run() = 0;
  virtual void set_active(bool active) = 0;
  virtual void stop() = 0;
};
std::unique_ptr<KubeStatusWriter> make_kube_status_writer(
    ApiClient& client, Source& source, Clock clock = std::chrono::system_clock::now);

}  // namespace weft::source::kube
