#include "agent/identity/key_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace weft::identity {
namespace {

Result<std::string> read_all(const Fd& file, const std::string& path) {
  return weft::read_all(file, path, kPemFileBytesMax);
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

}  // namespace weft::identity
