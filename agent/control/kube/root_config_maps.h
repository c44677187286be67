#pragma once

#include "agent/control/kube/roots_plan.h"
#include "agent/source/kube/api_client.h"
#include "agent/source/kube/kube_source.h"
#include "ztunnel/runtime/pause.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <memory>
#include <string>

namespace weft::control::kube {

// Keeps the ConfigMap istio-ca-root-cert in every namespace of the mesh, so that pods can mount
// what they are to trust. Written by the replica that leads, by server-side apply without force:
// where another manager owns the key (an istiod of another CA) it is left as it is, and that is
// said. Belongs to the client's loop.
class RootConfigMaps {
 public:
  using OnError = std::function<void(const Error&)>;
  RootConfigMaps(source::kube::ApiClient& client, OnError on_error);
  ~RootConfigMaps();

  runtime::Task<void> run();  // until stop()
  void stop();

  void set_roots(std::string pem);
  void set_namespace(const std::string& ns, bool wanted);
  void set_active(bool active);  // this replica leads
  uint64_t written() const { return written_; }
  size_t foreign() const { return plan_.foreign(); }

 private:
  runtime::Task<void> write_all();
  runtime::Task<void> write(std::string ns);
  void observe(const std::vector<source::Change>& changes);

  source::kube::ApiClient& client_;
  const OnError on_error_;
  std::unique_ptr<source::Source> source_;
  RootsPlan plan_;
  runtime::Pause pause_;
  runtime::TaskScope tasks_;
  bool is_synced_ = false;  // what is there already is known
  bool active_ = false;
  bool stopped_ = false;
  uint64_t written_ = 0;
};

}  // namespace weft::control::kube
