#pragma once

#include "agent/source/kube/reflector.h"

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weft::source::kube {

// Which of the CRDs that we want are installed: their names are watched, so that one that comes
// later is noticed, and one that goes is told from an API server that is only starting. Where RBAC
// forbids to look, it is asked again once in a while instead.
class CrdWatch {
 public:
  // How soon after a CRD has come its resource is looked for: the server takes some 100 ms.
  static constexpr std::chrono::milliseconds kSoon{100};
  static constexpr std::chrono::milliseconds kLater{30'000};
  // Where the names cannot be watched.
  static constexpr std::chrono::milliseconds kRarely{60'000};

  CrdWatch(ApiClient& client, const std::vector<Resource>& wanted);

  runtime::Task<void> run();
  void stop();
  // Returns when it is worth asking the server again what it has; at `limit` at the latest.
  runtime::Task<void> wait_news(std::optional<std::chrono::milliseconds> limit = std::nullopt);
  // What the latest asking found.
  void set_served(const std::vector<Served>& served);
  // Whether the CRD was there and has been removed since; true once.
  bool was_removed(const Resource& resource);

 private:
  static std::string name_of(const Resource& resource) {
    return std::string(resource.plural) + "." + std::string(resource.group);
  }
  void note();
  bool is_missing_one() const;

  std::set<std::string> wanted_;   // "authorizationpolicies.security.istio.io"
  std::set<std::string> present_;  // of these, CRDs that there are
  std::set<std::string> removed_;
  std::set<std::string> served_;
  Reflector reflector_;
  runtime::Pause pause_;
  std::chrono::milliseconds next_look_ = kSoon;
};

}  // namespace weft::source::kube
