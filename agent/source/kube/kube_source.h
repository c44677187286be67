#pragma once

#include "agent/source/kube/api_client.h"
#include "agent/source/kube/mirror.h"
#include "agent/source/kube/resources.h"
#include "agent/source/source.h"
#include "agent/source/status.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::source::kube {

// What a writer of statuses has to know of an object.
struct WritableObject {
  std::string path;  // "/apis/security.istio.io/v1/namespaces/a/authorizationpolicies/b"
  std::string api_version;
  OnServer on_server;
};

// Objects from a Kubernetes API server: every resource is listed, then watched. CRDs that are not
// installed are no error, and are noticed when they come.
//
// The first batch is complete: it waits until every resource that the server has was listed. What
// cannot be listed (a missing RBAC rule) is told to on_error, and is tried again until it can.
// annotate_pod is a PATCH of pods/status with the uid as its precondition.
class KubeSource : public Source {
 public:
  // Of an object of a resource with keeps_status, as the server has it now.
  virtual std::optional<WritableObject> writable(const objects::Key& key) const = 0;
  // How often a resource was listed whole, by its plural: more than once is a gap that was closed.
  virtual std::map<std::string, uint64_t> lists() const = 0;
};

// `client` must outlive the source. After stop(), stop the client too: what is under way then ends,
// and watch() with it.
std::unique_ptr<KubeSource> make_kube_source(ApiClient& client, std::vector<Resource> resources);

// Conditions by server-side apply on the status subresource, in Istio's shape (istio.io/api
// meta/v1alpha1 IstioStatus), only where the server's differ; lastTransitionTime moves only with a
// condition's status. write() queues: the newest conditions of an object count, and are tried
// until the server takes them. Both must outlive the writer.
class KubeStatusWriter : public StatusWriter {
 public:
  // Objects whose status waits to be written. Past it write() fails with kLimit: somebody floods.
  static constexpr size_t kWaitingMax = 20'000;

  // Writes what is queued, until stop().
  virtual runtime::Task<void> run() = 0;
  // Only one of several replicas writes (see the Lease): the others keep what they would write.
  virtual void set_active(bool active) = 0;
  virtual void stop() = 0;
  virtual uint64_t written() const = 0;  // answers of the server that took one
};
std::unique_ptr<KubeStatusWriter> make_kube_status_writer(
    ApiClient& client, const KubeSource& source, Clock clock = std::chrono::system_clock::now);

}  // namespace weft::source::kube
