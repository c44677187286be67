#include "agent/compile/selector_index.h"

namespace weft::compile {

// '\0' is in no label, nor in a namespace's name.
std::string SelectorIndex::place_of(const std::string& ns, std::string_view key,
                                    std::string_view value) {
  std::string place = ns;
  place.append(1, '\0').append(key).append(1, '\0').append(value);
  return place;
}

void SelectorIndex::put(const std::string& ns, const std::string& name, const Labels& selector) {
  erase(ns, name);
  std::string best = place_of(ns, "", "");
  size_t fewest = std::string::npos;
  for (const auto& [key, value] : selector) {
    std::string place = place_of(ns, key, value);
    const auto found = names_.find(place);
    const size_t others = found == names_.end() ? 0 : found->second.size();
    if (others >= fewest) continue;
    fewest = others;
    best = std::move(place);
  }
  names_[best].insert(name);
  places_.insert_or_assign(ns + "/" + name, std::move(best));
}

void SelectorIndex::erase(const std::string& ns, const std::string& name) {
  const auto place = places_.find(ns + "/" + name);
  if (place == places_.end()) return;
  const auto names = names_.find(place->second);
  names->second.erase(name);
  if (names->second.empty()) names_.erase(names);
  places_.erase(place);
}

void SelectorIndex::call_all(const std::string& place,
                             const std::function<void(const std::string& name)>& call) const {
  const auto found = names_.find(place);
  if (found == names_.end()) return;
  for (const std::string& name : found->second) call(name);
}

void SelectorIndex::for_candidates(const std::string& ns, const Labels& labels,
                                   const std::function<void(const std::string& name)>& call) const {
  call_all(place_of(ns, "", ""), call);
  for (const auto& [key, value] : labels) call_all(place_of(ns, key, value), call);
}

}  // namespace weft::compile
