#include "agent/identity/key_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace weft::identity {
namespace {

Result<std::string> read_all(const Fd& file, const std::string& path) {
  std::string bytes(kPemFileBytesMax + 1, '\0');
  size_t length = 0;
  while (length < bytes.size()) {
    const ssize_t got = ::read(file.get(), bytes.data() + length, bytes.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(errno, "reading " + path);
    if (got == 0) break;
    length += static_cast<size_t>(got);
  }
  if (length > kPemFileBytesMax) {
    return fail(Code::kLimit, path + " is longer than " + std::to_string(kPemFileBytesMax) +
                                  " bytes: not a PEM file of ours");
  }
  bytes.resize(length);
  return bytes;
}

Result<Fd> open_regular(const std::string& path, struct stat& status, int flags = O_NOFOLLOW) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | flags));
  if (!file) return fail_errno(errno, "opening " + path);
  if (::fstat(file.get(), &status) != 0) return fail_errno(errno, "looking at " + path);
  if (!S_ISREG(status.st_mode)) return fail(Code::kInvalid, path + " is not a regular file");
  return file;
}

}  // namespace

Result<Fd> open_locked_folder(const std::string& folder) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_errno(errno, "making the folder " + folder);
  }
  Fd handle(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!handle) return fail_errno(errno, "opening the folder " + folder);
  while (::flock(handle.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(errno, "locking the folder " + folder);
  }
  return handle;
}

Result<std::string> read_small_file(const std::string& path) {
  struct stat status{};
  const Fd file = TRY(open_regular(path, status));
  return read_all(file, path);
}

Result<std::string> read_mounted_file(const std::string& path) {
  struct stat status{};
  const Fd file = TRY(open_regular(path, status, 0));
  return read_all(file, path);
}

Result<std::string> read_private_file(const std::string& path) {
  struct stat status{};
  const Fd file = TRY(open_regular(path, status));
  if ((status.st_mode & 077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof mode, "%04o", status.st_mode & 07777U);
    return fail(Code::kInvalid, path + " has mode " + mode +
                                    ": others can read the key; expected 0600 (and a new key, "
                                    "if somebody did)");
  }
  return read_all(file, path);
}

Result<void> write_new_file(const std::string& path, std::string_view bytes, mode_t mode) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return fail_errno(errno, "making " + path);
  if (::fchmod(file.get(), mode) != 0) return fail_errno(errno, "setting the mode of " + path);
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "writing " + path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (::fsync(file.get()) != 0) return fail_errno(errno, "syncing " + path);
  return {};
}

Result<void> replace_file(const std::string& path, std::string_view bytes, mode_t mode) {
  const std::string beside = path + ".new";
  TRY(remove_if_there(beside));
  TRY(write_new_file(beside, bytes, mode));
  return rename_file(beside, path);
}

Result<void> rename_file(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return fail_errno(errno, "renaming " + from + " to " + to);
  }
  return {};
}

bool file_exists(const std::string& path) {
  struct stat status{};
  return ::lstat(path.c_str(), &status) == 0;
}

Result<void> remove_if_there(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "removing " + path);
  return {};
}

}  // namespace weft::identity
