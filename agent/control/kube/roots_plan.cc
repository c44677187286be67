#include "agent/control/kube/roots_plan.h"

#include <algorithm>

namespace weft::control::kube {

void RootsPlan::settle(const std::string& ns) {
  const State& state = states_[ns];
  const bool is_due =
      state.wanted && !roots_.empty() && state.content != roots_ && !state.is_foreign;
  if (is_due) {
    due_.insert(ns);
  } else {
    due_.erase(ns);
  }
}

void RootsPlan::drop_if_void(const std::string& ns) {
  const auto found = states_.find(ns);
  if (found->second.wanted || found->second.content) return;
  due_.erase(ns);
  states_.erase(found);
}

void RootsPlan::set_roots(std::string pem) {
  if (pem == roots_) return;
  roots_ = std::move(pem);
  for (auto& [ns, state] : states_) {
    state.is_foreign = false;
    settle(ns);
  }
}

void RootsPlan::set_namespace(const std::string& ns, bool wanted) {
  State& state = states_[ns];
  if (state.wanted != wanted) {
    state.failures = 0;
    state.retry_at = {};
  }
  state.wanted = wanted;
  settle(ns);
  drop_if_void(ns);
}

void RootsPlan::observe(const std::string& ns, std::optional<std::string> content) {
  State& state = states_[ns];
  if (content != state.content) state.is_foreign = false;
  state.content = std::move(content);
  settle(ns);
  drop_if_void(ns);
}

std::optional<std::string> RootsPlan::next(Time now) const {
  for (const std::string& ns : due_) {
    if (states_.at(ns).retry_at <= now) return ns;
  }
  return std::nullopt;
}

std::optional<RootsPlan::Time> RootsPlan::next_time() const {
  std::optional<Time> first;
  for (const std::string& ns : due_) {
    const Time at = states_.at(ns).retry_at;
    if (!first || at < *first) first = at;
  }
  return first;
}

void RootsPlan::written(const std::string& ns) {
  const auto found = states_.find(ns);
  if (found == states_.end()) return;
  found->second.content = roots_;
  found->second.failures = 0;
  found->second.retry_at = {};
  settle(ns);
}

void RootsPlan::failed(const std::string& ns, Time now) {
  const auto found = states_.find(ns);
  if (found == states_.end()) return;
  State& state = found->second;
  const auto pause = std::min<std::chrono::seconds>(
      kRetryFirst * (1U << std::min(state.failures, 10U)), kRetryMax);
  ++state.failures;
  state.retry_at = now + pause;
}

bool RootsPlan::conflicted(const std::string& ns) {
  const auto found = states_.find(ns);
  if (found == states_.end()) return false;
  const bool is_news = !found->second.is_foreign;
  found->second.is_foreign = true;
  settle(ns);
  return is_news;
}

size_t RootsPlan::foreign() const {
  return static_cast<size_t>(
      std::ranges::count_if(states_, [](const auto& one) { return one.second.is_foreign; }));
}

}  // namespace weft::control::kube
