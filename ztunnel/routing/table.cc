#include "ztunnel/routing/table.h"

#include "ztunnel/routing/conditions.h"
#include "ztunnel/routing/path_trie.h"
#include "ztunnel/routing/route.h"

#include <limits>
#include <utility>
#include <vector>

namespace weft::routing {
namespace {

using HttpMatch = weft::route::HttpMatch;

// Every match of every route has a number, in the order in which they stand; the least that holds
// wins. Those with a path are found by two tries (one of them folds case), the rest are asked one
// by one.
class IndexedTable final : public Table {
 public:
  explicit IndexedTable(const weft::route::Port& port) : config_(port) {}

  Result<void> compile();
  Match find(const http::RequestHead& request) const override;
  const weft::route::Port& config() const override { return config_; }
  std::span<const Route> routes() const override { return routes_; }

 private:
  struct Entry {
    Conditions conditions;
    uint32_t route = 0;
    uint32_t name = 0;
    bool any_path = false;
  };
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

  Result<void> add(const HttpMatch& match, uint32_t route, uint32_t name);
  void index_path(const HttpMatch::Path& path, uint32_t number);

  weft::route::Port config_;
  std::vector<Route> routes_;
  std::vector<Entry> entries_;
  PathTrie paths_{false};
  PathTrie folded_paths_{true};
  std::vector<uint32_t> others_;  // by a regular expression, or without a path
};

Result<void> IndexedTable::compile() {
  for (const weft::route::HttpRoute& config : config_.http()) {
    const auto number = static_cast<uint32_t>(routes_.size());
    auto made = Route::compile(config);
    if (!made) return Fail(std::move(made).error().in("route \"" + config.name() + "\""));
    Route route = *std::move(made);
    if (config.matches().empty()) {
      route.names.push_back(config.name());
      TRY(add(HttpMatch::default_instance(), number, 0));
    }
    for (const HttpMatch& match : config.matches()) {
      const auto name = static_cast<uint32_t>(route.names.size());
      route.names.push_back(match.name().empty() ? config.name()
                                                 : config.name() + "." + match.name());
      auto added = add(match, number, name);
      if (!added) {
        return Fail(std::move(added).error().in("route \"" + config.name() + "\" match " +
                                                std::to_string(name)));
      }
    }
    routes_.push_back(std::move(route));
  }
  return {};
}

Result<void> IndexedTable::add(const HttpMatch& match, uint32_t route, uint32_t name) {
  if (entries_.size() == kMatchesMax) {
    return fail(Code::kInvalid, "more than " + std::to_string(kMatchesMax) + " matches at a port");
  }
  const auto number = static_cast<uint32_t>(entries_.size());
  const bool any_path = match.path().type_case() == HttpMatch::Path::TYPE_NOT_SET;
  entries_.push_back({TRY(Conditions::compile(match)), route, name, any_path});
  index_path(match.path(), number);
  return {};
}

void IndexedTable::index_path(const HttpMatch::Path& path, uint32_t number) {
  PathTrie& trie = path.ignore_case() ? folded_paths_ : paths_;
  switch (path.type_case()) {
    case HttpMatch::Path::kExact:
      trie.add(path.exact(), PathTrie::Kind::kExact, number);
      break;
    case HttpMatch::Path::kPrefix:
      trie.add(path.prefix(), PathTrie::Kind::kPrefix, number);
      break;
    case HttpMatch::Path::kSegmentPrefix: {
      std::string_view key = path.segment_prefix();
      while (key.ends_with('/')) key.remove_suffix(1);
      trie.add(key, PathTrie::Kind::kSegmentPrefix, number);
      break;
    }
    case HttpMatch::Path::kRegex:
    case HttpMatch::Path::TYPE_NOT_SET:
      others_.push_back(number);
      break;
  }
}

Match IndexedTable::find(const http::RequestHead& request) const {
  const std::string_view path = without_query(request.path);
  uint32_t best = kNone;
  std::optional<size_t> best_bytes;
  uint32_t asked = 0;
  const auto ask = [&](const std::vector<uint32_t>& numbers, std::optional<size_t> prefix_bytes) {
    for (const uint32_t number : numbers) {
      if (number >= best) return;
      ++asked;
      if (!entries_[number].conditions.hold(request)) continue;
      best = number;
      best_bytes = prefix_bytes;
      return;
    }
  };
  asked += paths_.walk(path, ask);
  if (!folded_paths_.empty()) asked += folded_paths_.walk(path, ask);
  ask(others_, std::nullopt);
  if (best == kNone) return {nullptr, std::nullopt, {}, asked};
  const Entry& entry = entries_[best];
  const Route& route = routes_[entry.route];
  if (entry.any_path && path.starts_with('/')) best_bytes = 1;
  return {&route, best_bytes, route.names[entry.name], asked};
}

}  // namespace

Result<std::shared_ptr<const Table>> Table::compile(const weft::route::Port& port) {
  auto table = std::make_shared<IndexedTable>(port);
  auto compiled = table->compile();
  if (!compiled) {
    return Fail(std::move(compiled).error().in("port " + std::to_string(port.port())));
  }
  return table;
}

}  // namespace weft::routing
