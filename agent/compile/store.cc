#include "agent/compile/store.h"

#include "agent/objects/mesh_config.h"

namespace weft::compile {

bool selects(const Labels& wanted, const Labels& labels) {
  for (const auto& [key, value] : wanted) {
    const auto found = labels.find(key);
    if (found == labels.end() || found->second != value) return false;
  }
  return true;
}

std::string_view value_of(const Labels& labels, const std::string& key) {
  const auto found = labels.find(key);
  return found == labels.end() ? std::string_view() : std::string_view(found->second);
}

namespace {

template <class T>
bool put_into(Table<T>& table, std::string_view kind, const objects::Key& key,
              const std::shared_ptr<const objects::Object>& object) {
  if (key.kind != kind) return false;
  if (object != nullptr && object->as<T>() != nullptr) {
    table.put(key, object);
  } else {
    table.erase(key);
  }
  return true;
}

}  // namespace

void Store::put(const objects::Key& key, const std::shared_ptr<const objects::Object>& object) {
  if (key.kind == "ConfigMap" && key.name != objects::kMeshConfigMap) return;
  put_into(pods, "Pod", key, object) || put_into(services, "Service", key, object) ||
      put_into(namespaces, "Namespace", key, object) || put_into(nodes, "Node", key, object) ||
      put_into(slices, "EndpointSlice", key, object) ||
      put_into(config_maps, "ConfigMap", key, object) ||
      put_into(service_entries, "ServiceEntry", key, object) ||
      put_into(workload_entries, "WorkloadEntry", key, object) ||
      put_into(sidecars, "Sidecar", key, object) ||
      put_into(policies, "AuthorizationPolicy", key, object) ||
      put_into(peers, "PeerAuthentication", key, object);
}

}  // namespace weft::compile
