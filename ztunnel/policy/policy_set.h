#pragma once

#include "ztunnel/policy/matchers.h"

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weft::policy {

// Policies that are asked together, indexed by whom they are about. A rule that can only match
// named principals, service accounts or namespaces is looked at for those callers alone; the others
// are looked at for every connection. So a namespace with a thousand policies for a thousand
// callers costs a few look-ups. The index only leaves out what cannot match: what it finds is
// matched in full. Immutable; shared between threads.
class PolicySet {
 public:
  explicit PolicySet(PolicyList policies);

  // The first DENY of the list that matches; null: none.
  const Policy* denial(const Subject& subject) const;
  // The first ALLOW that matches; null: none.
  const Policy* permission(const Subject& subject) const;
  bool has_allow() const { return has_allow_; }
  // How many rules denial() and permission() look at, at most; for tests.
  size_t candidates(const Subject& subject) const;

 private:
  static constexpr size_t kNone = std::numeric_limits<size_t>::max();

  struct Entry {
    size_t place;  // of the policy in the list
    const Rule* rule;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>{}(text);
    }
  };
  using Table = std::unordered_map<std::string, std::vector<Entry>, Hash, std::equal_to<>>;
  struct Index {
    std::vector<Entry> for_everyone;
    Table by_principal;
    Table by_account;
    Table by_namespace;

    void add(size_t place, const Rule& rule);
    // Calls `look` with each list of rules that may match, in each the first policies first.
    template <class Look>
    void for_lists(const Subject& subject, Look look) const;
    // The place of the first policy that matches; kNone: none does.
    size_t find(const Subject& subject) const;
  };

  const Policy* at(size_t place) const { return place == kNone ? nullptr : policies_[place].get(); }

  PolicyList policies_;  // keeps what the entries point to
  Index denies_;
  Index allows_;
  size_t denies_all_ = kNone;  // one that this version does not understand
  bool has_allow_ = false;
};

}  // namespace weft::policy
