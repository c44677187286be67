#include "agent/xds/store.h"

namespace weft::xds {

std::vector<Store::Changed> Store::update(std::vector<compile::Resource> changes) {
  ++sequence_;
  std::vector<Changed> changed;
  for (auto& change : changes) {
    Table& table = tables_[change.type];
    const auto found = table.find(std::string_view(change.name));
    if (change.removed) {
      if (found == table.end()) continue;
      changed.push_back({std::move(change.type), found->first, true});
      table.erase(found);
      continue;
    }
    if (found != table.end() && *found->second->version == change.version) continue;
    auto entry = std::make_shared<const Entry>(Entry{
        std::make_shared<const std::string>(std::move(change.version)), std::move(change.bytes)});
    Text name = found != table.end() ? found->first
                                     : std::make_shared<const std::string>(std::move(change.name));
    table.insert_or_assign(name, std::move(entry));
    changed.push_back({std::move(change.type), std::move(name), false});
  }
  return changed;
}

const Store::Table* Store::table(std::string_view type) const {
  const auto found = tables_.find(type);
  return found == tables_.end() ? nullptr : &found->second;
}

std::shared_ptr<const Entry> Store::find(std::string_view type, std::string_view name) const {
  const Table* resources = table(type);
  if (resources == nullptr) return nullptr;
  const auto found = resources->find(name);
  return found == resources->end() ? nullptr : found->second;
}

std::map<std::string, size_t> Store::sizes() const {
  std::map<std::string, size_t> sizes;
  for (const auto& [type, table] : tables_) sizes[type] = table.size();
  return sizes;
}

}  // namespace weft::xds
