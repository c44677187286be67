#pragma once

#include "agent/sandbox/store.h"

#include <string>
#include <vector>

namespace weft::sandbox {

// What `weft sandbox get` prints. Pure; `now_seconds`: Unix time, for ages.
struct TableOptions {
  bool wide = false;
  bool show_namespace = false;
  int64_t now_seconds = 0;
};
// `shown`: objects of one kind; `all`: everything stored, for what a row says about others.
std::string print_table(const std::string& kind, const std::vector<ObjectPtr>& shown,
                        const std::vector<ObjectPtr>& all, const TableOptions& options);
std::string print_nodes(const std::vector<std::string>& nodes, bool wide);

// "12s", "5m", "5m3s", "3h", "2d": as kubectl writes ages.
std::string human_age(int64_t seconds);
int64_t seconds_of(const std::string& rfc3339);  // 0: not a time

}  // namespace weft::sandbox
