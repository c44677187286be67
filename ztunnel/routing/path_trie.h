#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft::routing {

// Numbers by the beginning of a path: one walk down, which reads each byte of the path at most
// once, meets every number whose key the path equals or begins with. Nodes are shared beginnings,
// so the walk is as long for a thousand keys as their paths have forks.
class PathTrie {
 public:
  enum class Kind : uint8_t { kExact, kPrefix, kSegmentPrefix };

  // `fold`: ASCII letters are alike in either case, in keys and in paths.
  explicit PathTrie(bool fold) : fold_(fold) {}

  // Numbers of one key must come in ascending order. A segment prefix has no slash at its end.
  void add(std::string_view key, Kind kind, uint32_t number);
  bool empty() const { return root_.is_bare(); }

  // Calls found(numbers, prefix_bytes) for each list of numbers met, where prefix_bytes is a
  // std::optional<size_t>: none of exact ones. Returns how many nodes it looked at.
  template <class Found>
  uint32_t walk(std::string_view path, Found found) const {
    const Node* node = &root_;
    size_t at = 0;
    for (uint32_t nodes = 1;; ++nodes) {
      if (!node->prefix.empty()) found(node->prefix, std::optional(at));
      const bool at_end = at == path.size();
      if (!node->segment.empty() && (at_end || path[at] == '/'))
        found(node->segment, std::optional(at));
      if (at_end) {
        if (!node->exact.empty()) found(node->exact, std::optional<size_t>());
        return nodes;
      }
      node = child(*node, path.substr(at));
      if (node == nullptr) return nodes;
      at += node->edge.size();
    }
  }

 private:
  struct Node {
    std::string edge;    // what leads here from the parent
    std::string firsts;  // the first byte of each child's edge
    std::vector<std::unique_ptr<Node>> children;
    std::vector<uint32_t> exact;
    std::vector<uint32_t> prefix;
    std::vector<uint32_t> segment;

    bool is_bare() const {
      return children.empty() && exact.empty() && prefix.empty() && segment.empty();
    }
  };

  char folded(char byte) const {
    return fold_ && byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte;
  }
  size_t shared(std::string_view edge, std::string_view text) const;
  // The child whose whole edge the text begins with; null: none.
  const Node* child(const Node& node, std::string_view text) const;

  bool fold_;
  Node root_;
};

}  // namespace weft::routing
