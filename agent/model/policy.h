#pragma once

#include "ztunnel/base/ip.h"

#include <cstdint>
#include <string>
#include <vector>

namespace weft::model {

// A pattern over a name: "*" matches what is not empty, "abc*" a beginning, "*abc" an end.
struct Pattern {
  enum class Kind { kExact, kPrefix, kSuffix, kPresent };
  Kind kind = Kind::kExact;
  std::string text;  // without the '*'
  bool operator==(const Pattern&) const = default;
};

struct Account {
  std::string ns;
  std::string name;
  bool operator==(const Account&) const = default;
};

// Conditions on one connection. Fields are ANDed, the values of one ORed; a not-field is the
// negation of its OR. Absent fields match; a Match without any field matches nothing, so none is
// ever made.
struct Match {
  std::vector<Pattern> namespaces{};
  std::vector<Pattern> not_namespaces{};
  std::vector<Pattern> principals{};  // "<trust domain>/ns/<namespace>/sa/<service account>"
  std::vector<Pattern> not_principals{};
  std::vector<Account> accounts{};
  std::vector<Account> not_accounts{};
  std::vector<Cidr> sources{};
  std::vector<Cidr> not_sources{};
  std::vector<Cidr> destinations{};
  std::vector<Cidr> not_destinations{};
  std::vector<uint32_t> ports{};  // the workload's own
  std::vector<uint32_t> not_ports{};
  bool operator==(const Match&) const = default;
};

struct Clause {
  std::vector<Match> any_of;
};

struct Rule {
  std::vector<Clause> all_of;  // none: always matches
};

// Who may connect to which workloads. Matches where one of its rules does; without rules never.
struct Policy {
  enum class Scope { kMesh, kNamespace, kSelected };
  enum class Action { kAllow, kDeny };

  std::string name;
  std::string ns;
  Scope scope = Scope::kNamespace;
  Action action = Action::kAllow;
  std::vector<Rule> rules;
  bool dry_run = false;  // is evaluated and logged, and decides nothing

  std::string key() const { return ns + "/" + name; }
};

}  // namespace weft::model
