#include "ztunnel/routing/path_trie.h"

#include <algorithm>
#include <utility>

namespace weft::routing {

size_t PathTrie::shared(std::string_view edge, std::string_view text) const {
  const size_t most = std::min(edge.size(), text.size());
  size_t same = 0;
  while (same < most && edge[same] == folded(text[same])) ++same;
  return same;
}

const PathTrie::Node* PathTrie::child(const Node& node, std::string_view text) const {
  const size_t index = node.firsts.find(folded(text.front()));
  if (index == std::string::npos) return nullptr;
  const Node& next = *node.children[index];
  return shared(next.edge, text) == next.edge.size() ? &next : nullptr;
}

void PathTrie::add(std::string_view key, Kind kind, uint32_t number) {
  Node* node = &root_;
  while (!key.empty()) {
    const size_t index = node->firsts.find(folded(key.front()));
    if (index == std::string::npos) {
      auto leaf = std::make_unique<Node>();
      for (const char byte : key) leaf->edge += folded(byte);
      node->firsts += leaf->edge.front();
      node->children.push_back(std::move(leaf));
      node = node->children.back().get();
      break;
    }
    std::unique_ptr<Node>& slot = node->children[index];
    const size_t same = shared(slot->edge, key);
    if (same < slot->edge.size()) {
      auto fork = std::make_unique<Node>();
      fork->edge = slot->edge.substr(0, same);
      slot->edge.erase(0, same);
      fork->firsts = slot->edge.front();
      fork->children.push_back(std::move(slot));
      slot = std::move(fork);
    }
    node = slot.get();
    key.remove_prefix(same);
  }
  std::vector<uint32_t>& numbers = kind == Kind::kExact    ? node->exact
                                   : kind == Kind::kPrefix ? node->prefix
                                                           : node->segment;
  numbers.push_back(number);
}

}  // namespace weft::routing
