#pragma once

#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace weft::sandbox {

// Nothing that the sandbox reads whole is larger: manifests, tables of /proc, a log's tail.
constexpr size_t kFileBytesMax = 16 << 20;

Result<std::string> read_file(const std::string& path);
// Writes beside and renames into place, so that a reader sees the old or the new text, whole.
Result<void> write_file_atomically(const std::string& path, std::string_view text,
                                   mode_t mode = 0644);
// One write(2) to a file that is there: cgroup and sysctl files.
Result<void> write_control_file(const std::string& path, std::string_view text);
Result<void> make_folders(const std::string& path, mode_t mode = 0755);
// The mount points at or below a path, deepest first.
std::vector<std::string> mounts_below(const std::string& path);
// Unmounts everything below, then removes the tree. A path that is not there is no error.
Result<void> remove_tree(const std::string& path);
// The last lines of a file, at most `lines`; empty where it cannot be read.
std::string tail_of(const std::string& path, size_t lines);

}  // namespace weft::sandbox
