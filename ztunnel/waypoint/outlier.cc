#include "ztunnel/waypoint/outlier.h"

#include <algorithm>
#include <utility>

namespace weft::waypoint {

using std::chrono::milliseconds;

Outliers::Outliers(const weft::route::Outlier& config) { update(config); }

void Outliers::update(const weft::route::Outlier& config) {
  const std::scoped_lock lock(mutex_);
  config_ = config;
  most_5xx_ = config.consecutive_5xx();
  most_gateway_ = config.consecutive_gateway();
  most_local_ = config.split_local() ? config.consecutive_local() : 0;
  split_local_ = config.split_local();
}

milliseconds Outliers::interval() const {
  return config_.interval_ms() == 0 ? kInterval : milliseconds(config_.interval_ms());
}

std::shared_ptr<EndpointHealth> Outliers::endpoint(const std::string& name) {
  const std::scoped_lock lock(mutex_);
  std::weak_ptr<EndpointHealth>& known = endpoints_[name];
  std::shared_ptr<EndpointHealth> found = known.lock();
  if (!found) {
    found = std::make_shared<EndpointHealth>();
    known = found;
    forget_gone();
  }
  return found;
}

void Outliers::forget_gone() {
  std::erase_if(endpoints_, [](const auto& one) { return one.second.expired(); });
  ejected_now_ = static_cast<size_t>(std::ranges::count_if(endpoints_, [](const auto& one) {
    const auto endpoint = one.second.lock();
    return endpoint && endpoint->is_ejected();
  }));
}

// One more in a row; a worker that comes while another one ejects changes nothing.
bool Outliers::reaches(std::atomic<uint32_t>& failures, uint32_t most) {
  return most != 0 && failures.fetch_add(1, std::memory_order_relaxed) + 1 >= most;
}

void Outliers::went(EndpointHealth& endpoint, Went how, int status, Clock::time_point now) {
  const auto clear = [](std::atomic<uint32_t>& failures) {
    if (failures.load(std::memory_order_relaxed) != 0) failures = 0;
  };
  bool over = false;
  const bool is_local = how != Went::kAnswered;
  if (is_local && split_local_.load(std::memory_order_relaxed)) {
    over = reaches(endpoint.failures_local_, most_local_);
  } else {
    if (!is_local) clear(endpoint.failures_local_);
    const bool is_gateway = is_local || (status >= 502 && status <= 504);
    if (is_local || status >= 500) {
      over = reaches(endpoint.failures_5xx_, most_5xx_);
    } else {
      clear(endpoint.failures_5xx_);
    }
    if (is_gateway) {
      over = reaches(endpoint.failures_gateway_, most_gateway_) || over;
    } else {
      clear(endpoint.failures_gateway_);
    }
  }
  if (over && !endpoint.is_ejected()) eject(endpoint, now);
}

void Outliers::eject(EndpointHealth& endpoint, Clock::time_point now) {
  const std::scoped_lock lock(mutex_);
  if (endpoint.is_ejected()) return;
  forget_gone();
  const size_t percent = ejected_now_ * 100 / std::max<size_t>(endpoints_.size(), 1);
  if (percent >= config_.ejection_percent_max()) return;
  const milliseconds base =
      config_.ejection_ms() == 0 ? kEjection : milliseconds(config_.ejection_ms());
  ++endpoint.times_;
  const milliseconds length = std::min(base * endpoint.times_, std::max(base, kEjectionMax));
  endpoint.ejected_until_ = now + length;
  endpoint.ejected_ = true;
  ++ejected_now_;
  if (next_tick_ == 0) next_tick_ = (now + interval()).time_since_epoch().count();
  ++ejections_;
  ++generation_;
}

void Outliers::tick(Clock::time_point now) {
  const int64_t due = next_tick_.load(std::memory_order_relaxed);
  if (due == 0 || now.time_since_epoch().count() < due) return;
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;  // another worker does it
  forget_gone();
  bool remembers = false;
  for (const auto& [name, known] : endpoints_) {
    const std::shared_ptr<EndpointHealth> endpoint = known.lock();
    if (!endpoint) continue;
    if (!endpoint->is_ejected()) {
      if (endpoint->times_ > 0) --endpoint->times_;
    } else if (endpoint->ejected_until_ <= now) {
      endpoint->failures_5xx_ = 0;
      endpoint->failures_gateway_ = 0;
      endpoint->failures_local_ = 0;
      endpoint->ejected_ = false;
      --ejected_now_;
      ++generation_;
    }
    remembers = remembers || endpoint->is_ejected() || endpoint->times_ > 0;
  }
  next_tick_ = remembers ? (now + interval()).time_since_epoch().count() : 0;
}

}  // namespace weft::waypoint
