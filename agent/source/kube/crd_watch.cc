#include "agent/source/kube/crd_watch.h"

#include <algorithm>

namespace weft::source::kube {
namespace {

using runtime::Task;

Served crds() {
  return {{.group = "apiextensions.k8s.io",
           .versions = {"v1"},
           .plural = "customresourcedefinitions",
           .kind = "CustomResourceDefinition",
           .namespaced = false,
           .metadata_only = true},
          "v1"};
}

}  // namespace

CrdWatch::CrdWatch(ApiClient& client, const std::vector<Resource>& wanted)
    : reflector_(client, crds(),
                 // That it may not be watched is no mistake: it is asked instead.
                 {.changed = [this] { note(); }, .failed = [](const Error&) {}}),
      pause_(client.loop()) {
  for (const Resource& resource : wanted) {
    if (!resource.built_in) wanted_.insert(name_of(resource));
  }
}

Task<void> CrdWatch::run() { return reflector_.run(); }

void CrdWatch::stop() {
  reflector_.stop();
  pause_.wake();
}

void CrdWatch::note() {
  bool is_news = false;
  for (const Change& change : reflector_.mirror().take_changes()) {
    const std::string& name = change.key.name;
    if (!wanted_.contains(name)) continue;
    is_news = true;
    if (change.object) {
      present_.insert(name);
      removed_.erase(name);
    } else {
      present_.erase(name);
      removed_.insert(name);
      served_.erase(name);
    }
  }
  static_cast<void>(reflector_.mirror().take_errors());
  if (!is_news || !is_missing_one()) {
    if (!removed_.empty()) pause_.wake();
    return;
  }
  next_look_ = kSoon;
  pause_.wake();
}

bool CrdWatch::is_missing_one() const { return !std::ranges::includes(served_, present_); }

Task<void> CrdWatch::wait_news(std::optional<std::chrono::milliseconds> limit) {
  if (!limit && is_missing_one()) {
    limit = next_look_;
    next_look_ = std::min(next_look_ * 2, kLater);
  }
  co_await pause_.wait(limit.value_or(kRarely));
}

void CrdWatch::set_served(const std::vector<Served>& served) {
  served_.clear();
  for (const Served& one : served) {
    if (!one.resource.built_in) served_.insert(name_of(one.resource));
  }
}

bool CrdWatch::was_removed(const Resource& resource) {
  return removed_.erase(name_of(resource)) > 0;
}

}  // namespace weft::source::kube
