#pragma once

#include "ztunnel/base/check.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

namespace weft::learn {

// A hash table whose copies cost next to nothing: they share its parts, of which one is copied when
// it is first changed after that. So a State of 20 000 workloads of which ten have changed is made
// by copying ten parts of some ten entries, not all.
//
// Values are changed by operator[] only. Making copies and changes belongs to one thread; a copy
// that nobody changes may be read by any.
template <class Key, class Value, class Hash = std::hash<Key>, class Equal = std::equal_to<>>
class SharedMap {
  using Part = std::unordered_map<Key, Value, Hash, Equal>;

 public:
  using mapped_type = Value;
  using value_type = typename Part::value_type;
  // A mesh of 20 000 workloads has ten in each, one of a million 500: 0.05 ms to copy. What a copy
  // costs at least is 16 bytes for each part, 32 KiB.
  static constexpr size_t kParts = 2048;

  class const_iterator {
   public:
    const value_type& operator*() const { return *at_; }
    const value_type* operator->() const { return &*at_; }
    const_iterator& operator++() {
      ++at_;
      skip_empty();
      return *this;
    }
    bool operator==(const const_iterator& other) const {
      return index_ == other.index_ && (index_ == kParts || at_ == other.at_);
    }

   private:
    friend class SharedMap;
    const_iterator(const SharedMap* map, size_t index) : map_(map), index_(index) {}
    void skip_empty() {
      while (index_ < kParts && at_ == map_->part(index_)->end()) enter(index_ + 1);
    }
    void enter(size_t index) {
      while (index < kParts && map_->part(index) == nullptr) ++index;
      index_ = index;
      if (index_ < kParts) at_ = map_->part(index_)->begin();
    }
    const SharedMap* map_;
    size_t index_;
    typename Part::const_iterator at_{};
  };

  SharedMap() = default;
  SharedMap(const SharedMap& other)
      : table_(other.table_), epoch_(++other.epoch_), size_(other.size_) {}
  SharedMap& operator=(const SharedMap& other) {
    if (this == &other) return *this;
    table_ = other.table_;
    epoch_ = ++other.epoch_;
    size_ = other.size_;
    return *this;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const_iterator begin() const {
    const_iterator it(this, kParts);
    if (table_ != nullptr) {
      it.enter(0);
      it.skip_empty();
    }
    return it;
  }
  const_iterator end() const { return const_iterator(this, kParts); }

  template <class K>
  const_iterator find(const K& key) const {
    const size_t index = index_of(key);
    const Part* entries = table_ == nullptr ? nullptr : part(index);
    if (entries == nullptr) return end();
    const auto found = entries->find(key);
    if (found == entries->end()) return end();
    const_iterator it(this, index);
    it.at_ = found;
    return it;
  }
  template <class K>
  bool contains(const K& key) const {
    return find(key) != end();
  }
  template <class K>
  const Value& at(const K& key) const {
    const const_iterator found = find(key);
    CHECK(found != end());
    return found->second;
  }

  // The table is copied, if at all, before the value is changed.
  Value& operator[](const Key& key) {
    const auto [entry, is_new] = own_part(index_of(key)).try_emplace(key);
    if (is_new) ++size_;
    return entry->second;
  }
  template <class K>
  size_t erase(const K& key) {
    if (!contains(key)) return 0;
    Part& entries = own_part(index_of(key));
    entries.erase(entries.find(key));
    --size_;
    return 1;
  }
  void erase(const const_iterator& it) { erase(Key(it->first)); }
  void clear() {
    table_.reset();
    size_ = 0;
  }

 private:
  // What bears the map's present epoch was made, or copied, behind its last copy: nobody shares it.
  // (A reference count would not do: what another thread read before it let go is not ordered
  // before our write.)
  template <class T>
  struct Owned {
    uint64_t epoch = 0;
    T value;
  };
  using Table = std::array<std::shared_ptr<Owned<Part>>, kParts>;

  // The upper bits: the lower ones choose the bucket within a part.
  template <class K>
  static size_t index_of(const K& key) {
    return (Hash{}(key) * 0x9e3779b97f4a7c15ULL) >> 53;
  }
  static_assert(kParts == 1ULL << (64 - 53));

  const Part* part(size_t index) const {
    const auto& owned = table_->value[index];
    return owned == nullptr ? nullptr : &owned->value;
  }

  template <class T>
  void own(std::shared_ptr<Owned<T>>& shared) {
    if (shared == nullptr) {
      shared = std::make_shared<Owned<T>>();
    } else if (shared->epoch != epoch_) {
      shared = std::make_shared<Owned<T>>(*shared);
    }
    shared->epoch = epoch_;
  }
  Part& own_part(size_t index) {
    own(table_);
    own(table_->value[index]);
    return table_->value[index]->value;
  }

  std::shared_ptr<Owned<Table>> table_;
  mutable uint64_t epoch_ = 1;
  size_t size_ = 0;
};

}  // namespace weft::learn
