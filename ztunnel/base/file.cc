#include "ztunnel/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace weft {

Result<void> write_new_file(const std::string& path, std::string_view bytes, mode_t mode,
                            Durable durable) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!file) return fail_errno(errno, "making " + path);
  // The process's umask is not asked.
  if (::fchmod(file.get(), mode) != 0) return fail_errno(errno, "setting the mode of " + path);
  TRY(write_all(file, path, bytes));
  if (durable == Durable::kYes && ::fsync(file.get()) != 0) {
    return fail_errno(errno, "syncing " + path);
  }
  return {};
}

Result<std::string> read_all(const Fd& file, const std::string& path, size_t bytes_max) {
  constexpr size_t kPieceBytes = 64 * 1024;
  std::string text;
  while (true) {
    const size_t had = text.size();
    text.resize(had + kPieceBytes);
    const ssize_t got = ::read(file.get(), text.data() + had, kPieceBytes);
    if (got < 0 && errno != EINTR) return fail_errno(errno, "reading " + path);
    text.resize(had + static_cast<size_t>(got < 0 ? 0 : got));
    if (got == 0) return text;
    if (text.size() > bytes_max) {
      return fail(Code::kLimit, path + ": longer than " + std::to_string(bytes_max) + " bytes");
    }
  }
}

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return fail_errno(errno, "opening " + path);
  struct stat about{};
  if (::fstat(file.get(), &about) != 0) return fail_errno(errno, "looking at " + path);
  if (!S_ISREG(about.st_mode)) return fail(Code::kInvalid, path + " is not a regular file");
  return read_all(file, path, bytes_max);
}

Result<std::string> read_small_file(const std::string& path) {
  std::string text = TRY(read_file(path, kSmallFileBytesMax));
  text.resize(text.find_last_not_of(" \t\r\n") + 1);  // npos + 1 is 0
  if (text.empty()) return fail(Code::kInvalid, path + " is empty");
  return text;
}

Result<void> write_all(const Fd& file, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file.get(), bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_errno(errno, "writing " + path);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

Result<void> remove_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return fail_errno(errno, "removing " + path);
}

Result<void> replace_file(const std::string& path, std::string_view bytes, mode_t mode,
                          Durable durable) {
  const std::string beside = path + ".new";
  TRY(remove_file(beside));
  Result<void> done = write_new_file(beside, bytes, mode, durable);
  if (done && std::rename(beside.c_str(), path.c_str()) != 0) {
    done = fail_errno(errno, "renaming " + beside + " to " + path);
  }
  if (!done) ::unlink(beside.c_str());
  return done;
}

}  // namespace weft
