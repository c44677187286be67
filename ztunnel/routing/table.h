#pragma once

#include "proto/route.pb.h"
#include "ztunnel/base/result.h"
#include "ztunnel/http/message.h"

#include <cstddef>
#include <memory>
#include <string_view>

namespace weft::routing {

struct Route;  // route.h: one compiled route

// What a request matched.
struct Match {
  const Route* route = nullptr;  // null: none
  size_t prefix_bytes =
      0;                  // of the path, where its route matched by prefix: what a rewrite replaces
  std::string_view name;  // of the route and of the match: "rule.match"
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
};

// The slow reference: asks every route in order. For tests and fuzzing.
Match find_slowly(const Table& table, const http::RequestHead& request);

}  // namespace weft::routing
