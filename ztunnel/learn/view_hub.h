#pragma once

#include "ztunnel/learn/view.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::learn {

struct ViewCore;  // what a view knows; touched by its worker's thread only

// The learner's side of the views: posts what is new to every worker's loop, in one order. Belongs
// to the learner's thread. The workers' loops must outlive it (they need not run).
class ViewHub {
 public:
  ViewHub(std::string node_name, std::string cluster_id);
  ~ViewHub();

  std::unique_ptr<View> make_view(runtime::Loop& worker);

  void publish_state(std::shared_ptr<const State> state);
  void pod_added(std::shared_ptr<const Pod> pod);
  void pod_removed(const std::string& uid);
  void identity_issued(std::shared_ptr<const tls::Credentials> credentials);
  void identity_failed(const SpiffeId& identity, const Error& error);
  void identity_gone(const SpiffeId& identity);
  // Also for views that are made later.
  void publish_trust(std::shared_ptr<const tls::Trust> trust);

 private:
  template <class Call>
  void post(Call call);

  std::string node_name_;
  std::string cluster_id_;
  std::shared_ptr<const tls::Trust> trust_ = std::make_shared<const tls::Trust>();
  std::vector<std::shared_ptr<ViewCore>> cores_;
};

}  // namespace weft::learn
