#include "agent/cli/purge.h"

#include "agent/cli/cluster.h"
#include "agent/source/kube/api_client.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>

namespace weft::cli {

namespace {

using objects::Tree;
using runtime::Task;
using source::kube::ApiClient;
using source::kube::escape;

// As agent/control/kube has them.
constexpr const char* kFieldManager = "weft-control";
constexpr const char* kSecret = "weft-ca";
constexpr const char* kLease = "weft-control";
constexpr const char* kRootConfigMap = "istio-ca-root-cert";

// Ztunnels may take their whole grace period to end.
constexpr std::chrono::seconds kPodsEndWithin{90};
constexpr std::chrono::milliseconds kLook{500};
constexpr const char* kPage = "&limit=500";

const Tree& at(const Tree& tree, std::string_view name) {
  static const Tree kNothing;
  const Tree* found = tree.find(name);
  return found == nullptr ? kNothing : *found;
}

Task<Result<Tree>> get(ApiClient& client, std::string path) {
  const std::string body =
      CO_TRY(source::kube::body_of(co_await client.request({.path = std::move(path)})));
  co_return objects::parse_json(body);
}

Task<Result<void>> wait_for_pods(ApiClient& client, std::string ns) {
  const std::string path =
      "/api/v1/namespaces/" + escape(ns) + "/pods?labelSelector=app.kubernetes.io%2Fpart-of%3Dweft";
  const auto end = client.loop().now() + kPodsEndWithin;
  while (true) {
    const Tree pods = CO_TRY(co_await get(client, path));
    const auto& items = at(pods, "items").items;
    if (items.empty()) co_return Result<void>{};
    if (client.loop().now() >= end) {
      co_return fail(Code::kTimeout,
                     "pod " + std::string(at(items.front(), "metadata").text_of("name")) +
                         " is still there: repeat `weft uninstall --purge` when it has ended");
    }
    co_await client.loop().sleep(kLook);
  }
}

Task<Result<std::vector<std::string>>> find_config_maps(ApiClient& client) {
  const std::string path =
      "/api/v1/configmaps?fieldSelector=metadata.name%3D" + std::string(kRootConfigMap) + kPage;
  std::vector<std::string> all;
  std::string more;
  do {
    const Tree list =
        CO_TRY(co_await get(client, more.empty() ? path : path + "&continue=" + more));
    for (std::string& one : root_config_maps_of_ours(list)) all.push_back(std::move(one));
    more = escape(at(list, "metadata").text_of("continue"));
  } while (!more.empty());
  co_return all;
}

Task<Result<std::vector<std::string>>> remove_all(ApiClient& client, std::string ns) {
  CO_TRY(co_await wait_for_pods(client, ns));
  std::vector<std::string> paths = CO_TRY(co_await find_config_maps(client));
  paths.push_back("/api/v1/namespaces/" + escape(ns) + "/secrets/" + kSecret);
  paths.push_back("/apis/coordination.k8s.io/v1/namespaces/" + escape(ns) + "/leases/" + kLease);
  std::vector<std::string> gone;
  for (const std::string& path : paths) {
    const auto answer = co_await client.request({.method = "DELETE", .path = path});
    if (answer && answer->status == 404) continue;
    CO_TRY(source::kube::body_of(answer));
    gone.push_back(path);
  }
  co_return gone;
}

Task<void> run(ApiClient& client, std::string ns, Result<std::vector<std::string>>& gone) {
  gone = co_await remove_all(client, std::move(ns));
  co_await client.stop();
  client.loop().stop();
}

bool is_ours(const Tree& object) {
  const auto& writers = at(at(object, "metadata"), "managedFields").items;
  return std::ranges::any_of(
      writers, [](const Tree& one) { return one.text_of("manager") == kFieldManager; });
}

}  // namespace

std::vector<std::string> root_config_maps_of_ours(const Tree& list) {
  std::vector<std::string> paths;
  for (const Tree& item : at(list, "items").items) {
    const Tree& metadata = at(item, "metadata");
    if (metadata.text_of("name") != kRootConfigMap || !is_ours(item)) continue;
    paths.push_back("/api/v1/namespaces/" + escape(metadata.text_of("namespace")) + "/configmaps/" +
                    kRootConfigMap);
  }
  return paths;
}

Result<std::vector<std::string>> purge(const Flags& flags) {
  auto config = TRY(cluster_config(flags));
  const auto loop = TRY(runtime::Loop::create(runtime::Backend::kEpoll));
  const auto client = ApiClient::make(*loop, std::move(config));
  Result<std::vector<std::string>> gone = std::vector<std::string>();
  loop->spawn(run(*client, flags.get("namespace"), gone));
  loop->run();
  return gone;
}

}  // namespace weft::cli
