#pragma once

#include "agent/objects/served.h"
#include "agent/source/kube/resources.h"
#include "agent/source/source.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weft::source::kube {

// What the server has of an object that we write statuses of.
struct OnServer {
  std::string uid;
  int64_t generation = 0;
  objects::Tree status;
};

// What is known of one resource: pages of lists and events of watches in, changes out. Does no I/O.
//
// Whatever the server sends, and in whatever order, after a whole list exactly what it named is
// there. Objects themselves are held by who is told of them; here only what tells a new one from
// the same one again.
class Mirror {
 public:
  // More objects of one kind than any cluster has; a server that sends more is lying.
  static constexpr size_t kObjectsMax = 2'000'000;

  explicit Mirror(Served served);

  // A list: begin, every page, end. What it did not name is deleted at its end, not before.
  void begin_list();
  // The continue token; empty: it was the last page, and end_list() is to follow.
  Result<std::string> add_page(std::string_view json);
  void end_list();
  bool has_listed() const { return has_listed_; }

  // One event of a watch that began at resource_version(). True: go on. False: the server has
  // forgotten that version, a list is needed. An Error: the watch is of no use, begin another.
  Result<bool> add_event(std::string_view json);
  const std::string& resource_version() const { return resource_version_; }
  // All of it is gone: its CRD was removed.
  void clear();

  std::vector<Change> take_changes() { return std::exchange(changes_, {}); }
  std::vector<Error> take_errors() { return std::exchange(errors_, {}); }

  const Served& served() const { return served_; }
  size_t size() const { return known_.size(); }
  const OnServer* on_server(const objects::Key& key) const;

 private:
  struct Known {
    uint64_t content = 0;
    uint32_t list = 0;     // the latest that named it
    bool is_good = false;  // an object that could be read was told
    bool is_told = false;  // that one, or a stand-in
  };

  Result<void> take_in(objects::ServedObject object);
  void remove(const objects::Key& key);
  static std::string name_of(const objects::Key& key) { return key.ns + "/" + key.name; }
  objects::Key key_of(const std::string& name) const;

  Served served_;
  objects::ServedKind kind_;
  std::unordered_map<std::string, Known> known_;
  std::map<std::string, OnServer> on_server_;
  std::string resource_version_;
  std::string listed_version_;  // of the list's first page
  uint32_t list_ = 0;
  bool has_listed_ = false;
  std::vector<Change> changes_;
  std::vector<Error> errors_;
};

}  // namespace weft::source::kube
