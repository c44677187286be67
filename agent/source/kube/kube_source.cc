#include "agent/source/kube/kube_source.h"

#include "agent/objects/tree.h"
#include "agent/source/kube/annotate.h"
#include "agent/source/kube/crd_watch.h"
#include "agent/source/kube/pod_event.h"
#include "agent/source/kube/random.h"
#include "agent/source/kube/reflector.h"
#include "ztunnel/base/log.h"

#include <malloc.h>

#include <algorithm>

namespace weft::source::kube {
namespace {

using runtime::Task;

constexpr std::chrono::milliseconds kDiscoveryFirst{200};
constexpr std::chrono::milliseconds kDiscoveryMax{10'000};
constexpr double kJitter = 0.5;

class Kube final : public KubeSource {
 public:
  Kube(ApiClient& client, std::vector<Resource> resources)
      : client_(client), wanted_(std::move(resources)), crds_(client, wanted_) {}

  Task<void> watch(OnChange on_change, OnError on_error) override;
  void stop() override;
  Task<Result<void>> annotate_pod(std::string ns, std::string name, std::string uid,
                                  std::string key, std::string value) override {
    return kube::annotate_pod(client_, {std::move(ns), std::move(name), std::move(uid)},
                              std::move(key), std::move(value));
  }
  Task<Result<void>> warn_about_pod(std::string ns, std::string name, std::string uid,
                                    std::string reason, std::string message) override {
    return kube::warn_about_pod(client_, {std::move(ns), std::move(name), std::move(uid)},
                                std::move(reason), std::move(message));
  }
  std::optional<WritableObject> writable(const objects::Key& key) const override;
  std::map<std::string, uint64_t> lists() const override;

 private:
  Task<Result<void>> look_around();
  void add(const Served& served);
  void drop_removed();
  bool is_complete() const;
  void tell();

  ApiClient& client_;
  std::vector<Resource> wanted_;
  CrdWatch crds_;
  OnChange on_change_;
  OnError on_error_;
  std::vector<std::unique_ptr<Reflector>> reflectors_;
  bool discovered_ = false;
  bool told_first_ = false;
  bool stopped_ = false;
  runtime::TaskScope tasks_;
  // What all resources' watches brought in one turn of the loop is one batch.
  runtime::TurnEnd turn_end_{client_.loop(), [this] { tell(); }};
};

Task<void> Kube::watch(OnChange on_change, OnError on_error) {
  on_change_ = std::move(on_change);
  on_error_ = std::move(on_error);
  runtime::Backoff backoff(kDiscoveryFirst, kDiscoveryMax, kJitter, random_part);
  const bool has_crds =
      std::ranges::any_of(wanted_, [](const Resource& resource) { return !resource.built_in; });
  if (has_crds) tasks_.spawn(crds_.run());
  std::string told;
  while (!stopped_) {
    const auto done = co_await look_around();
    if (stopped_) break;
    if (done) {
      backoff.reset();
      told.clear();
      if (!has_crds && discovered_) break;
      co_await crds_.wait_news();
    } else {
      if (done.error().to_string() != told) on_error_(done.error());
      told = done.error().to_string();
      co_await crds_.wait_news(backoff.next());
    }
    drop_removed();
  }
  co_await tasks_.join();
}

void Kube::stop() {
  stopped_ = true;
  crds_.stop();
  for (const auto& reflector : reflectors_) reflector->stop();
}

Task<Result<void>> Kube::look_around() {
  auto served = co_await discover(client_, wanted_);
  if (stopped_) co_return Result<void>();
  if (!served) co_return Fail(std::move(served.error()).in("asking what the API server has"));
  for (const Served& one : *served) add(one);
  discovered_ = true;
  crds_.set_served(*served);
  turn_end_.ask();
  co_return Result<void>();
}

void Kube::add(const Served& served) {
  for (const auto& present : reflectors_) {
    const Resource& resource = present->mirror().served().resource;
    if (resource.plural == served.resource.plural && resource.group == served.resource.group) {
      return present->kick();
    }
  }
  const Reflector::Observer observer{.changed = [this] { turn_end_.ask(); },
                                     .failed = [this](const Error& error) { on_error_(error); }};
  reflectors_.push_back(std::make_unique<Reflector>(client_, served, observer));
  tasks_.spawn(reflectors_.back()->run());
  if (!told_first_) return;
  log::info("kube").field("resource", served.collection()).say("is there now");
}

// A CRD that was removed has taken its objects with it. Its reflector stays: it asks again in vain,
// rarely, and goes on when the CRD comes back.
void Kube::drop_removed() {
  for (const auto& reflector : reflectors_) {
    const Resource& resource = reflector->mirror().served().resource;
    if (resource.built_in || !crds_.was_removed(resource)) continue;
    reflector->forget();
    turn_end_.ask();
  }
}

bool Kube::is_complete() const {
  return discovered_ && std::ranges::all_of(reflectors_, [](const auto& reflector) {
           return reflector->mirror().has_listed() || reflector->is_absent();
         });
}

void Kube::tell() {
  if (stopped_ || !on_change_) return;
  for (const auto& reflector : reflectors_) {
    for (const Error& error : reflector->mirror().take_errors()) on_error_(error);
  }
  if (!told_first_ && !is_complete()) return;
  std::vector<Change> changes;
  for (const auto& reflector : reflectors_) {
    auto part = reflector->mirror().take_changes();
    std::ranges::move(part, std::back_inserter(changes));
  }
  if (told_first_ && changes.empty()) return;
  const bool is_first = !std::exchange(told_first_, true);
  on_change_(std::move(changes));
  // The pages of the first lists were megabytes each; what they left goes back to the kernel.
  if (is_first) ::malloc_trim(0);
}

std::optional<WritableObject> Kube::writable(const objects::Key& key) const {
  for (const auto& reflector : reflectors_) {
    const Mirror& mirror = reflector->mirror();
    if (mirror.served().resource.kind != key.kind) continue;
    const OnServer* found = mirror.on_server(key);
    if (found == nullptr) continue;
    return WritableObject{mirror.served().object_path(key), mirror.served().api_version(), *found};
  }
  return std::nullopt;
}

std::map<std::string, uint64_t> Kube::lists() const {
  std::map<std::string, uint64_t> counts;
  for (const auto& reflector : reflectors_) {
    counts[std::string(reflector->mirror().served().resource.plural)] += reflector->lists();
  }
  return counts;
}

}  // namespace

std::unique_ptr<KubeSource> make_kube_source(ApiClient& client, std::vector<Resource> resources) {
  return std::make_unique<Kube>(client, std::move(resources));
}

}  // namespace weft::source::kube
