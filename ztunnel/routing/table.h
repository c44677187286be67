#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"
#include "ztunnel/http/message.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace weft::routing {

struct Route;  // route.h: one compiled route

// A port's matches at most: far more than one object of etcd's 1.5 MB holds, few enough that a
// table is some MB.
inline constexpr size_t kMatchesMax = 65'536;

// What a request matched.
struct Match {
  const Route* route = nullptr;  // null: none
  // Of the path, where it matched by prefix: what a rewrite replaces. A match without a path is one
  // by the prefix "/", as Istio has it. None: the whole path matched.
  std::optional<size_t> prefix_bytes;
  std::string_view name;  // of the route and of the match: "rule.match"
  uint32_t asked = 0;     // what finding it cost: nodes and matches that were looked at
};

// The HTTP routes of one port, compiled: the order in which they stand decides, whatever index
// finds them. Immutable, shared by workers; a request that holds it finishes on it.
class Table {
 public:
  // kInvalid names the route and the field. Control has checked what it sends, so an error here is
  // a bug or another version's control: the resource is refused, the last good one stays.
  static Result<std::shared_ptr<const Table>> compile(const weft::route::Port& port);
  virtual ~Table() = default;

  // Time: independent of how many routes there are, but for those whose path pattern is a regular
  // expression and those that differ in headers alone.
  virtual Match find(const http::RequestHead& request) const = 0;
  virtual const weft::route::Port& config() const = 0;
  virtual std::span<const Route> routes() const = 0;  // one for each of config().http()
};

// The slow reference: asks every route in order, by the messages themselves. For tests and fuzzing.
Match find_slowly(const Table& table, const http::RequestHead& request);

}  // namespace weft::routing
