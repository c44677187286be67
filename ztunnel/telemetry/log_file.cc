#include "ztunnel/telemetry/log_file.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace weft::telemetry {
namespace {

// So that what is written already does not count as waiting, and moving the rest costs little.
constexpr size_t kForgetBytes = 64UL * 1024;

}  // namespace

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

Result<Fd> LogFile::another() const {
  Fd copy(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) return fail_errno(errno, "a copy of a descriptor");
  return copy;
}

Result<std::shared_ptr<LogFile>> LogFiles::open(const std::string& path) {
  const std::scoped_lock lock(mutex_);
  if (auto file = files_[path].lock()) return file;
  auto made = TRY(LogFile::open(path));
  files_[path] = made;
  return made;
}

LogWriter::LogWriter(runtime::Loop& loop, std::shared_ptr<const LogFile> file)
    : loop_(loop), file_(std::move(file)) {
  if (auto copy = file_->another()) descriptor_ = std::move(*copy);
}

LogWriter::~LogWriter() = default;

void LogWriter::add(std::string_view lines) {
  if (is_closed_ || !descriptor_ || waiting_.size() + lines.size() > kWaitingBytesMax) {
    dropped_ += lines.size();
    return;
  }
  waiting_ += lines;
  if (std::exchange(is_writing_, true)) return;
  tasks_.spawn(run());
}

// Whole lines, as many as fit; of one that does not, as much as does.
std::string_view LogWriter::next_piece() const {
  const std::string_view left = std::string_view(waiting_).substr(written_);
  if (left.size() <= kPieceBytes) return left;
  const size_t end = left.rfind('\n', kPieceBytes - 1);
  return left.substr(0, end == std::string_view::npos ? kPieceBytes : end + 1);
}

runtime::Task<void> LogWriter::run() {
  while (written_ < waiting_.size()) {
    // Negative but for a cancel: a file of a kind that is always ready.
    if (co_await loop_.poll(descriptor_.get(), POLLOUT) == -ECANCELED) break;
    const std::string_view piece = next_piece();
    const ssize_t size = ::write(descriptor_.get(), piece.data(), piece.size());
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size < 0) break;
    written_ += static_cast<size_t>(size);
    if (written_ < kForgetBytes) continue;
    waiting_.erase(0, written_);
    written_ = 0;
  }
  dropped_ += waiting_.size() - written_;
  waiting_.clear();
  written_ = 0;
  is_writing_ = false;
}

runtime::Task<void> LogWriter::close() {
  is_closed_ = true;
  const runtime::Deadline limit(loop_, kLastWords, [this] { loop_.cancel(descriptor_.get()); });
  co_await tasks_.join();
}

}  // namespace weft::telemetry
