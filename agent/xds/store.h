#pragma once

#include "agent/compile/compiler.h"

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::xds {

// A string that many share: a mesh has tens of thousands of names, and every stream speaks of them.
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

// What a resource takes on the wire beside its name and bytes: an Any's and a Resource's own
// fields.
constexpr size_t kResourceOverheadBytes = 100;

// Everything of a type at one moment, and how it is written on the wire: the same for all who ask
// then. After a restart of control every node does, and a large mesh is 18 MB.
class Snapshot {
 public:
  using Resources = std::vector<std::pair<Text, std::shared_ptr<const Entry>>>;
  Snapshot(std::string type, Resources resources)
      : type_(std::move(type)), resources_(std::move(resources)) {}

  const Resources& resources() const { return resources_; }
  // The part of a serialized DeltaDiscoveryResponse that holds the resources. Thread-safe: made
  // once, by who asks first; the others wait for it.
  const std::string& wire() const;

 private:
  const std::string type_;
  const Resources resources_;
  mutable std::once_flag once_;
  mutable std::string wire_;
};

// All present resources by type and name, and how many updates there have been. Not thread-safe.
class Store {
 public:
  using Table = std::map<Text, std::shared_ptr<const Entry>, TextLess>;

  struct Changed {
    std::string type;
    Text name;
    Text before;  // the version that it had; null: it was not there
    bool removed = false;
  };
  // Adds, replaces and removes; returns what is different now.
  std::vector<Changed> update(std::vector<compile::Resource> changes);

  // Null: no resource of the type was ever there.
  const Table* table(std::string_view type) const;
  std::shared_ptr<const Entry> find(std::string_view type, std::string_view name) const;
  // Made once for all who ask before the type changes again, and not kept longer than one of them
  // does.
  std::shared_ptr<const Snapshot> snapshot(std::string_view type) const;
  // One more with each update.
  uint64_t sequence() const { return sequence_; }
  // Of the latest update in which something of the type was different; 0: never.
  uint64_t changed_in(std::string_view type) const;
  std::map<std::string, size_t> sizes() const;

 private:
  struct Type {
    Table table;
    uint64_t changed_in = 0;
    mutable std::weak_ptr<const Snapshot> snapshot;  // of the table as it is
  };
  std::map<std::string, Type, std::less<>> types_;
  uint64_t sequence_ = 0;
};

}  // namespace weft::xds
