#include "agent/source/files.h"

#include "agent/objects/tree.h"
#include "ztunnel/base/file.h"

#include <algorithm>
#include <filesystem>

namespace weft::source {

bool is_manifest_name(std::string_view name) {
  if (name.starts_with('.')) return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

Result<std::string> read_file(const std::string& path) {
  return weft::read_file(path, objects::kTextBytesMax);
}

Result<void> write_file(const std::string& path, std::string_view text) {
  return replace_file(path, text, 0644, Durable::kNo);
}

Result<std::vector<std::string>> list_manifests(const std::string& folder) {
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  std::vector<std::string> names;
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    std::string name = entries->path().filename().string();
    std::error_code ignored;
    if (!is_manifest_name(name) || entries->is_directory(ignored)) continue;
    if (names.size() == kFilesMax) {
      return fail(Code::kLimit,
                  folder + ": more than " + std::to_string(kFilesMax) + " manifest files");
    }
    names.push_back(std::move(name));
  }
  if (error) return fail_errno(error.value(), folder);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace weft::source
