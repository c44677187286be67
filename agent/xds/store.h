#pragma once

#include "agent/compile/compiler.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::xds {

// A string that many share: every subscriber remembers names and versions of what it has, and a
// mesh has tens of thousands of them.
using Text = std::shared_ptr<const std::string>;

struct TextLess {
  using is_transparent = void;
  static std::string_view view(const Text& text) { return *text; }
  static std::string_view view(std::string_view text) { return text; }
  template <class A, class B>
  bool operator()(const A& a, const B& b) const {
    return view(a) < view(b);
  }
};

// One resource as it is now. Immutable, so that a response may be written while the next version
// comes in.
struct Entry {
  Text version;
  std::string bytes;
};

// All present resources by type and name, and how many updates there have been. Not thread-safe.
class Store {
 public:
  using Table = std::map<Text, std::shared_ptr<const Entry>, TextLess>;

  struct Changed {
    std::string type;
    Text name;
    bool removed = false;
  };
  // Adds, replaces and removes; returns what is different now.
  std::vector<Changed> update(std::vector<compile::Resource> changes);

  // Null: no resource of the type was ever there.
  const Table* table(std::string_view type) const;
  std::shared_ptr<const Entry> find(std::string_view type, std::string_view name) const;
  // One more with each update.
  uint64_t sequence() const { return sequence_; }
  std::map<std::string, size_t> sizes() const;

 private:
  std::map<std::string, Table, std::less<>> tables_;
  uint64_t sequence_ = 0;
};

}  // namespace weft::xds
