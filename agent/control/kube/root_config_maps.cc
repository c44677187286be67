#include "agent/control/kube/root_config_maps.h"

#include "agent/control/kube/writes.h"
#include "agent/objects/tree.h"
#include "ztunnel/base/log.h"

#include <algorithm>

namespace weft::control::kube {

using runtime::Task;
using source::kube::Request;

namespace {

constexpr std::chrono::milliseconds kRequestMax{10'000};
// At most 50 writes a second: a thousand namespaces in 20 s, and the API server has others to
// serve.
constexpr std::chrono::milliseconds kGap{20};
constexpr std::chrono::milliseconds kIdle{3'600'000};

source::kube::Resource root_config_maps() {
  source::kube::Resource resource;
  resource.group = "";
  resource.versions = {"v1"};
  resource.plural = "configmaps";
  resource.kind = "ConfigMap";
  resource.field_selector = std::string("metadata.name=") + kRootConfigMap;
  return resource;
}

std::string config_map_of(const std::string& ns, const std::string& roots) {
  using objects::Tree;
  Tree labels = Tree::map();
  labels.add("istio.io/config", Tree::of(std::string("true")));
  Tree metadata = Tree::map();
  metadata.add("name", Tree::of(std::string(kRootConfigMap)));
  metadata.add("namespace", Tree::of(ns));
  metadata.add("labels", std::move(labels));
  Tree data = Tree::map();
  data.add(kRootConfigMapKey, Tree::of(roots));
  Tree object = Tree::map();
  object.add("apiVersion", Tree::of(std::string("v1")));
  object.add("kind", Tree::of(std::string("ConfigMap")));
  object.add("metadata", std::move(metadata));
  object.add("data", std::move(data));
  return objects::write_json(object);
}

}  // namespace

RootConfigMaps::RootConfigMaps(source::kube::ApiClient& client, OnError on_error)
    : client_(client),
      on_error_(std::move(on_error)),
      source_(source::kube::make_kube_source(client, {root_config_maps()})),
      pause_(client.loop()) {}

RootConfigMaps::~RootConfigMaps() = default;

Task<void> RootConfigMaps::run() {
  tasks_.spawn(source_->watch(
      [this](const std::vector<source::Change>& changes) { observe(changes); }, on_error_));
  co_await write_all();
  source_->stop();
  co_await tasks_.join();
}

void RootConfigMaps::stop() {
  stopped_ = true;
  pause_.wake();
}

void RootConfigMaps::observe(const std::vector<source::Change>& changes) {
  is_synced_ = true;
  for (const source::Change& change : changes) {
    const auto* map = change.object ? change.object->as<crd::core::ConfigMap>() : nullptr;
    if (map == nullptr) {
      plan_.observe(change.key.ns, std::nullopt);
      continue;
    }
    const auto roots = map->data().find(kRootConfigMapKey);
    plan_.observe(change.key.ns, roots == map->data().end() ? std::string() : roots->second);
  }
  pause_.wake();
}

void RootConfigMaps::set_roots(std::string pem) {
  plan_.set_roots(std::move(pem));
  pause_.wake();
}

void RootConfigMaps::set_namespace(const std::string& ns, bool wanted) {
  plan_.set_namespace(ns, wanted);
  pause_.wake();
}

void RootConfigMaps::set_active(bool active) {
  active_ = active;
  pause_.wake();
}

Task<void> RootConfigMaps::write_all() {
  while (!stopped_) {
    const auto now = std::chrono::steady_clock::now();
    const bool may_write = active_ && is_synced_;
    if (const auto ns = may_write ? plan_.next(now) : std::nullopt) {
      co_await write(*ns);
      co_await client_.loop().sleep(kGap);
      continue;
    }
    auto pause = kIdle;
    if (const auto next = may_write ? plan_.next_time() : std::nullopt) {
      pause = std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*next - now), kGap, kIdle);
    }
    co_await pause_.wait(pause);
  }
}

Task<void> RootConfigMaps::write(std::string ns) {
  const std::string roots = plan_.roots();
  Request request;
  request.method = "PATCH";
  request.path = "/api/v1/namespaces/" + source::kube::escape(ns) + "/configmaps/" +
                 kRootConfigMap + "?fieldManager=" + kFieldManager;
  request.content_type = source::kube::kApplyPatch;
  request.body = config_map_of(ns, roots);
  request.timeout = kRequestMax;
  const auto answer = co_await client_.request(std::move(request));
  if (answer && answer->is_good()) {
    ++written_;
    if (plan_.roots() == roots) plan_.written(ns);
    log::debug("roots").field("namespace", ns).say("written");
    co_return;
  }
  if (answer && answer->status == 409) {
    if (!plan_.conflicted(ns)) co_return;
    co_return on_error_(Error(
        Code::kRefused, std::string("ConfigMap/") + ns + "/" + kRootConfigMap +
                            ": another manager has put other roots there, and they are left: its "
                            "pods do not trust this CA (" +
                            source::kube::refusal_of(*answer).message + ")"));
  }
  plan_.failed(ns, std::chrono::steady_clock::now());
  log::debug("roots")
      .field("namespace", ns)
      .field("error", answer ? source::kube::refusal_of(*answer).to_error().to_string()
                             : answer.error().to_string())
      .say("not written; tried again later");
}

}  // namespace weft::control::kube
