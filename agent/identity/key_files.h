#pragma once

#include "ztunnel/base/file.h"
#include "ztunnel/base/result.h"

#include <sys/stat.h>

#include <string>
#include <string_view>

// Small files with keys and certificates, inside one folder.

namespace weft::identity {

// No PEM file of ours is longer; a longer one is something else.
constexpr size_t kPemFileBytesMax = 64 * 1024;

// The folder, opened and locked (flock) against a second process until the descriptor is closed.
// Made (0700) where it does not exist.
Result<Fd> open_locked_folder(const std::string& folder);

// kNotFound where there is none. Symbolic links are not followed.
Result<std::string> read_small_file(const std::string& path);
// The same, through symbolic links: Kubernetes mounts Secrets and ConfigMaps so.
Result<std::string> read_mounted_file(const std::string& path);
// Also an error where the group or others may read or write it.
Result<std::string> read_private_file(const std::string& path);

Result<void> rename_file(const std::string& from, const std::string& to);
bool file_exists(const std::string& path);

}  // namespace weft::identity
