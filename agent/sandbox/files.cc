#include "agent/sandbox/files.h"

#include "ztunnel/base/file.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace weft::sandbox {

namespace {

// /proc/self/mountinfo writes a space as \040 and so on.
std::string unescape_octal(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

Result<std::string> read_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(errno, "reading " + path);
  return read_all(file, path, kFileBytesMax);
}

Result<void> write_file_atomically(const std::string& path, std::string_view text, mode_t mode) {
  const std::filesystem::path target(path);
  const std::string beside = target.parent_path().string() + "/." + target.filename().string() +
                             "." + std::to_string(::getpid()) + ".tmp";
  {
    const Fd file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
    if (!file) return fail_errno(errno, "writing " + beside);
    TRY(write_all(file, beside, text));
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(beside.c_str());
    return fail_errno(why, "writing " + path);
  }
  return {};
}

Result<void> write_control_file(const std::string& path, std::string_view text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return fail_errno(errno, "writing " + path);
  return write_all(file, path, text);
}

Result<void> make_folders(const std::string& path, mode_t mode) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return fail_errno(error.value(), "making " + path);
  if (::chmod(path.c_str(), mode) != 0) return fail_errno(errno, "making " + path);
  return {};
}

std::vector<std::string> mounts_below(const std::string& path) {
  std::vector<std::string> found;
  std::ifstream table("/proc/self/mountinfo");
  std::string line;
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string skipped;
    std::string target;
    fields >> skipped >> skipped >> skipped >> skipped >> target;
    target = unescape_octal(target);
    if (target == path || target.starts_with(path + "/")) found.push_back(target);
  }
  std::reverse(found.begin(), found.end());
  return found;
}

Result<void> remove_tree(const std::string& path) {
  for (const std::string& mount : mounts_below(path)) {
    if (::umount2(mount.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL) {
      return fail_errno(errno, "unmounting " + mount);
    }
  }
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return fail_errno(error.value(), "removing " + path);
  return {};
}

std::string tail_of(const std::string& path, size_t lines) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return "";
  constexpr std::streamoff kTailBytesMax = 64 * 1024;
  file.seekg(0, std::ios::end);
  const std::streamoff size = file.tellg();
  file.seekg(std::max<std::streamoff>(0, size - kTailBytesMax));
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  size_t start = text.size();
  for (; start > 0; --start) {
    if (text[start - 1] == '\n' && --lines == 0) break;
  }
  return text.substr(start);
}

}  // namespace weft::sandbox
