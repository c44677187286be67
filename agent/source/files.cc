#include "agent/source/files.h"

#include "agent/objects/tree.h"
#include "ztunnel/base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace weft::source {

bool is_manifest_name(std::string_view name) {
  if (name.starts_with('.')) return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

Result<std::string> read_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return fail_errno(errno, path);
  struct stat about{};
  if (::fstat(file.get(), &about) != 0) return fail_errno(errno, path);
  if (!S_ISREG(about.st_mode)) return fail(Code::kInvalid, path + ": not a regular file");
  std::string text;
  char chunk[65536];
  while (true) {
    const ssize_t got = ::read(file.get(), chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, path);
    if (got == 0) return text;
    text.append(chunk, static_cast<size_t>(got));
    if (text.size() > objects::kTextBytesMax) {
      return fail(Code::kLimit,
                  path + ": longer than " + std::to_string(objects::kTextBytesMax) + " bytes");
    }
  }
}

Result<void> write_file(const std::string& path, std::string_view text) {
  const std::string unfinished = path + ".tmp";
  {
    const Fd file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!file) return fail_errno(errno, unfinished);
    while (!text.empty()) {
      const ssize_t put = ::write(file.get(), text.data(), text.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return fail_errno(errno, unfinished);
      text.remove_prefix(static_cast<size_t>(put));
    }
  }
  if (std::rename(unfinished.c_str(), path.c_str()) != 0) return fail_errno(errno, path);
  return {};
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
