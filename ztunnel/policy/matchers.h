#pragma once

#include "proto/authorization.pb.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/policy/authorize.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The compiled form of an Authorization. Values are sorted when a policy is compiled, so that a
// policy with thousands of principals costs a binary search and not a scan.

namespace weft::policy {

// What is asked of every policy about one connection, computed once.
struct Subject {
  const Connection& connection;
  std::string principal;  // empty where there is no identity

  explicit Subject(const Connection& of)
      : connection(of), principal(of.source ? of.source->principal() : std::string()) {}
};

// Values of one field, ORed: exact, by prefix, by suffix, or any that is not empty.
struct StringSet {
  std::vector<std::string> exact;  // sorted
  std::vector<std::string> prefixes;
  std::vector<std::string> suffixes;
  bool presence = false;

  bool empty() const { return exact.empty() && prefixes.empty() && suffixes.empty() && !presence; }
  bool contains(std::string_view value) const;
};

struct CidrSet {
  std::vector<Cidr> prefixes;

  bool empty() const { return prefixes.empty(); }
  bool contains(const IpAddress& address) const {
    return std::ranges::any_of(prefixes, [&](const Cidr& cidr) { return cidr.contains(address); });
  }
};

template <class T>
struct SortedSet {
  std::vector<T> values;  // sorted

  bool empty() const { return values.empty(); }
  bool contains(const T& value) const { return std::ranges::binary_search(values, value); }
};

using ServiceAccount = std::pair<std::string, std::string>;  // namespace, name

// One field with its negation: a value passes if it is among `any` (or `any` is empty) and not
// among `none`.
template <class Set>
struct Field {
  Set any;
  Set none;

  bool empty() const { return any.empty() && none.empty(); }
  template <class Value>
  bool passes(const Value& value) const {
    return (any.empty() || any.contains(value)) && !none.contains(value);
  }
  // For a caller without an identity: nothing that is asked for matches, nothing that is excluded
  // applies.
  bool passes_nobody() const { return any.empty(); }
};

struct Match {
  Field<StringSet> namespaces;
  Field<StringSet> principals;
  Field<SortedSet<ServiceAccount>> service_accounts;
  Field<CidrSet> source_ips;
  Field<CidrSet> destination_ips;
  Field<SortedSet<uint32_t>> destination_ports;

  bool empty() const;
  bool matches(const Subject& subject) const;
};

struct Clause {
  std::vector<Match> matches;
};

struct Rule {
  std::vector<Clause> clauses;

  bool matches(const Subject& subject) const;
};

class Policy {
 public:
  std::string key;  // "ns/name"
  std::string ns;
  istio::security::Scope scope = istio::security::GLOBAL;
  istio::security::Action action = istio::security::DENY;
  bool dry_run = false;
  // What this version cannot understand; not empty: the policy decides against the caller.
  std::string caveat;
  std::vector<Rule> rules;
};

}  // namespace weft::policy
