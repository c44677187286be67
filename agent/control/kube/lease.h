#pragma once

#include "agent/objects/tree.h"
#include "ztunnel/base/result.h"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft::control::kube {

// client-go's, so that operators find what they know.
struct LeaseTimes {
  std::chrono::milliseconds lease{15'000};  // how long the others wait for a silent holder
  std::chrono::milliseconds renew{10'000};  // a holder that could not renew for so long has lost it
  std::chrono::milliseconds retry{2'000};
};

// What one replica knows of a coordination.k8s.io/v1 Lease, and whether it may take it. No I/O.
//
// Clocks of machines differ, so the times that stand in the object are for people: how long a
// holder has been silent is measured here, from when a change of its record was last seen.
class LeaseView {
 public:
  using Time = std::chrono::steady_clock::time_point;

  LeaseView(std::string identity, LeaseTimes times)
      : identity_(std::move(identity)), times_(times) {}

  // The object as it was just read or written. kInvalid: it is none.
  Result<void> observe(std::string_view json, Time now);
  // Whether it is ours already, nobody's, or of a holder that has been silent too long.
  bool may_take(Time now) const;
  bool is_ours() const { return holder_ == identity_; }
  const std::string& holder() const { return holder_; }

  // The object to be created, or to be written over what was observed last (its resourceVersion
  // makes a write fail where somebody else was faster). `wall` is RFC 3339 with microseconds.
  std::string to_create(const std::string& ns, const std::string& name,
                        const std::string& wall) const;
  std::string to_take(const std::string& wall) const;
  std::string to_release(const std::string& wall) const;

 private:
  objects::Tree written(std::string holder, std::chrono::milliseconds duration,
                        const std::string& wall) const;

  std::string identity_;
  LeaseTimes times_;
  std::string ns_;
  std::string name_;
  std::string resource_version_;
  std::string spec_;  // as last observed: a change is a sign of life
  std::string holder_;
  std::string acquired_;
  int64_t transitions_ = 0;
  std::chrono::milliseconds duration_{0};
  std::optional<Time> changed_at_;
};

}  // namespace weft::control::kube
