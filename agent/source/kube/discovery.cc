#include "agent/objects/tree.h"
#include "agent/source/kube/resources.h"

#include <algorithm>
#include <set>

namespace weft::source::kube {
namespace {

using objects::Tree;
using runtime::Task;

constexpr size_t kBodyBytesMax = 4U << 20;  // a group's resources take a few KB

// The plurals of one version of one group; none where there is no such version.
Task<Result<std::set<std::string>>> plurals_of(ApiClient& client, std::string group_version) {
  auto response =
      co_await client.request({.path = "/apis/" + group_version, .body_bytes_max = kBodyBytesMax});
  if (response && response->status == 404) co_return std::set<std::string>();
  const std::string body = CO_TRY(body_of(std::move(response)));
  const Tree list = CO_TRY(objects::parse_json(body));
  std::set<std::string> plurals;
  if (const Tree* resources = list.find("resources")) {
    for (const Tree& resource : resources->items) plurals.emplace(resource.text_of("name"));
  }
  co_return plurals;
}

// The versions of all groups, in one answer.
Task<Result<std::set<std::string>>> group_versions(ApiClient& client) {
  const std::string body =
      CO_TRY(body_of(co_await client.request({.path = "/apis", .body_bytes_max = kBodyBytesMax})));
  const Tree list = CO_TRY(objects::parse_json(body));
  std::set<std::string> found;
  const Tree* groups = list.find("groups");
  if (groups == nullptr) co_return fail(Code::kInvalid, "GET /apis: expected a list of groups");
  for (const Tree& group : groups->items) {
    const Tree* versions = group.find("versions");
    if (versions == nullptr) continue;
    for (const Tree& version : versions->items) found.emplace(version.text_of("groupVersion"));
  }
  co_return found;
}

// While an API server starts, it does not have all its groups yet and does not say so.
Task<Result<void>> wait_ready(ApiClient& client) {
  const auto response = CO_TRY(co_await client.request({.path = "/readyz"}));
  // Who may not ask, or asks something that has no /readyz, goes on.
  if (response.is_good() || response.status == 403 || response.status == 404) {
    co_return Result<void>();
  }
  co_return Fail(refusal_of(response).to_error().in("the API server is not ready"));
}

}  // namespace

Task<Result<std::vector<Served>>> discover(ApiClient& client, std::vector<Resource> wanted) {
  CO_TRY(co_await wait_ready(client));
  const std::set<std::string> versions = CO_TRY(co_await group_versions(client));
  std::map<std::string, std::set<std::string>> plurals;
  std::vector<Served> served;
  for (const Resource& resource : wanted) {
    if (resource.built_in) {
      served.push_back({resource, std::string(resource.versions.front())});
      continue;
    }
    for (const std::string_view version : resource.versions) {
      const std::string name = std::string(resource.group) + "/" + std::string(version);
      if (!versions.contains(name)) continue;
      if (!plurals.contains(name)) plurals[name] = CO_TRY(co_await plurals_of(client, name));
      if (!plurals[name].contains(std::string(resource.plural))) continue;
      served.push_back({resource, std::string(version)});
      break;
    }
  }
  co_return served;
}

}  // namespace weft::source::kube
