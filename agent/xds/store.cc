#include "agent/xds/store.h"

#include "agent/xds/response.h"

namespace weft::xds {

const std::string& Snapshot::wire() const {
  std::call_once(once_, [this] { wire_ = encode_resources(type_, resources_); });
  return wire_;
}

std::vector<Store::Changed> Store::update(std::vector<compile::Resource> changes) {
  ++sequence_;
  std::vector<Changed> changed;
  for (auto& change : changes) {
    Type& type = types_[change.type];
    const auto found = type.table.find(std::string_view(change.name));
    Text before = found != type.table.end() ? found->second->version : nullptr;
    if (change.removed ? before == nullptr : before != nullptr && *before == change.version) {
      continue;
    }
    type.changed_in = sequence_;
    type.snapshot.reset();
    Text name = before != nullptr ? found->first
                                  : std::make_shared<const std::string>(std::move(change.name));
    if (change.removed) {
      type.table.erase(found);
    } else {
      type.table.insert_or_assign(
          name, std::make_shared<const Entry>(
                    Entry{std::make_shared<const std::string>(std::move(change.version)),
                          std::move(change.bytes)}));
    }
    changed.push_back({std::move(change.type), std::move(name), std::move(before), change.removed});
  }
  return changed;
}

const Store::Table* Store::table(std::string_view type) const {
  const auto found = types_.find(type);
  return found == types_.end() ? nullptr : &found->second.table;
}

std::shared_ptr<const Entry> Store::find(std::string_view type, std::string_view name) const {
  const Table* resources = table(type);
  if (resources == nullptr) return nullptr;
  const auto found = resources->find(name);
  return found == resources->end() ? nullptr : found->second;
}

std::shared_ptr<const Snapshot> Store::snapshot(std::string_view type) const {
  const auto found = types_.find(type);
  if (found == types_.end()) {
    return std::make_shared<const Snapshot>(std::string(type), Snapshot::Resources());
  }
  auto snapshot = found->second.snapshot.lock();
  if (!snapshot) {
    const Table& table = found->second.table;
    snapshot = std::make_shared<const Snapshot>(std::string(type),
                                                Snapshot::Resources(table.begin(), table.end()));
    found->second.snapshot = snapshot;
  }
  return snapshot;
}

uint64_t Store::changed_in(std::string_view type) const {
  const auto found = types_.find(type);
  return found == types_.end() ? 0 : found->second.changed_in;
}

std::map<std::string, size_t> Store::sizes() const {
  std::map<std::string, size_t> sizes;
  for (const auto& [name, type] : types_) sizes[name] = type.table.size();
  return sizes;
}

}  // namespace weft::xds
