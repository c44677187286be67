#pragma once

#include "ztunnel/waypoint/limits.h"
#include "ztunnel/waypoint/outlier.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace weft::waypoint {

// What all workers of a process know together of one destination.
struct SharedDestination {
  Usage usage;
  Outliers outliers{weft::route::Outlier()};
};

// Those of a process, for its workers' PooledUpstreams. Locked only when a worker first meets a
// destination; one that no worker holds is forgotten.
class SharedDestinations {
 public:
  std::shared_ptr<SharedDestination> of(const std::string& key) {
    const std::scoped_lock lock(mutex_);
    std::erase_if(known_, [](const auto& one) { return one.second.expired(); });
    std::weak_ptr<SharedDestination>& known = known_[key];
    std::shared_ptr<SharedDestination> found = known.lock();
    if (!found) known = found = std::make_shared<SharedDestination>();
    return found;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<SharedDestination>> known_;
};

}  // namespace weft::waypoint
