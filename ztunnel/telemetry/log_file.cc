#include "ztunnel/telemetry/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace weft::telemetry {

Result<std::shared_ptr<LogFile>> LogFile::open(const std::string& path) {
  const int standard = path == "/dev/stdout"   ? STDOUT_FILENO
                       : path == "/dev/stderr" ? STDERR_FILENO
                                               : -1;
  // A copy: /dev/stdout itself cannot be opened where it is a socket.
  constexpr int kMode = 0644;
  Fd file(standard >= 0 ? ::fcntl(standard, F_DUPFD_CLOEXEC, 0)
                        : ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, kMode));
  if (!file) return fail_errno(errno, path);
  return std::shared_ptr<LogFile>(new LogFile(std::move(file)));
}

LogFile::LogFile(Fd file) : file_(std::move(file)), thread_([this] { run(); }) {}

LogFile::~LogFile() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void LogFile::add(std::string_view lines) {
  {
    const std::scoped_lock lock(mutex_);
    if (waiting_.size() + lines.size() > kWaitingBytesMax) {
      dropped_.fetch_add(lines.size(), std::memory_order_relaxed);
      return;
    }
    waiting_ += lines;
  }
  changed_.notify_one();
}

void LogFile::run() {
  std::string lines;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    lines.clear();
    std::swap(lines, waiting_);
    lock.unlock();
    std::string_view left = lines;
    while (!left.empty()) {
      const ssize_t written = ::write(file_.get(), left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        dropped_.fetch_add(left.size(), std::memory_order_relaxed);
        break;
      }
      left.remove_prefix(static_cast<size_t>(written));
    }
    lock.lock();
  }
}

Result<std::shared_ptr<LogFile>> LogFiles::open(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  if (auto file = files_[path].lock()) return file;
  auto made = TRY(LogFile::open(path));
  files_[path] = made;
  return made;
}

}  // namespace weft::telemetry
