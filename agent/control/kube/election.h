#pragma once

#include "agent/control/kube/lease.h"
#include "agent/source/kube/api_client.h"
#include "ztunnel/runtime/pause.h"

#include <functional>
#include <string>

namespace weft::control::kube {

// Which of several replicas writes: the one that holds the Lease. Belongs to the client's loop.
//
// Who leads stops before the others may begin: it has lost the lease when it could not renew for
// LeaseTimes::renew, counted from when the last good renewal was sent. Writes that are under way
// then may still arrive; everything that replicas write is therefore the same whoever writes it.
class Election {
 public:
  struct Names {
    std::string ns;
    std::string lease;
    std::string identity;  // of this replica; survives a restart in place
  };
  using OnChange = std::function<void(bool leads)>;

  // `random` gives numbers from 0 to below 1.
  Election(source::kube::ApiClient& client, Names names, OnChange on_change,
           std::function<double()> random, LeaseTimes times = {});

  // Until stop(); then gives the lease back, so that another replica takes it at once.
  runtime::Task<void> run();
  void stop();

  bool leads() const { return leads_; }
  const std::string& holder() const { return view_.holder(); }  // as last seen
  uint64_t failures() const { return failures_; }               // tries that had no answer

 private:
  runtime::Task<Result<bool>> attempt();
  runtime::Task<Result<bool>> write(std::string method, std::string path, std::string body);
  runtime::Task<void> release();
  void settle(bool leads);
  std::chrono::milliseconds patience() const;
  std::string collection() const;

  source::kube::ApiClient& client_;
  const Names names_;
  const OnChange on_change_;
  const std::function<double()> random_;
  const LeaseTimes times_;
  LeaseView view_;
  runtime::Pause pause_;
  std::chrono::steady_clock::time_point good_until_{};
  bool leads_ = false;
  bool stopped_ = false;
  bool was_refused_ = false;  // and that was said
  uint64_t failures_ = 0;
};

}  // namespace weft::control::kube
