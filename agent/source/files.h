#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace weft::source {

// A folder with more files than this is not a folder of manifests; 20 000 pods, one a file, fit.
constexpr size_t kFilesMax = 65'536;

// "a.yaml", "b.yml", "c.json"; not what begins with a dot, which is somebody's unfinished file.
bool is_manifest_name(std::string_view name);

// Whole, at most objects::kTextBytesMax bytes. kNotFound where it is not there.
Result<std::string> read_file(const std::string& path);
// Beside its place first, then renamed, so that a reader never sees half of it.
Result<void> write_file(const std::string& path, std::string_view text);
// The manifests of a folder, sorted, without the folder's name.
Result<std::vector<std::string>> list_manifests(const std::string& folder);

}  // namespace weft::source
