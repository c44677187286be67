#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace weft::telemetry {

// A file, or standard output, that lines are added to. Thread-safe.
class LogFile {
 public:
  // "/dev/stdout", "/dev/stderr", or a path: made where it is not there, and added to.
  static Result<std::shared_ptr<LogFile>> open(const std::string& path);
  // The same file, as a descriptor of the caller's own.
  Result<Fd> another() const;

 private:
  explicit LogFile(Fd file) : file_(std::move(file)) {}
  Fd file_;
};

// One LogFile for each path, as long as somebody has it. Thread-safe.
class LogFiles {
 public:
  Result<std::shared_ptr<LogFile>> open(const std::string& path);

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<LogFile>> files_;
};

// One worker's way to a LogFile. A pipe that nobody reads holds up no worker: lines are written
// when there is room, as many whole ones at a time as a pipe takes in one piece, so that those of
// several workers do not mix. Belongs to the worker's thread.
class LogWriter {
 public:
  // What waits to be written; lines beyond it are dropped and counted.
  static constexpr size_t kWaitingBytesMax = 4 * 1024 * 1024;
  static constexpr size_t kPieceBytes = 4096;  // PIPE_BUF: a ready pipe has so much room
  static constexpr std::chrono::seconds kLastWords{1};

  LogWriter(runtime::Loop& loop, std::shared_ptr<const LogFile> file);
  ~LogWriter();  // idle, or after close()

  void add(std::string_view lines);
  bool is_idle() const { return !is_writing_; }
  // Writes what waits, as far as there is room within kLastWords.
  runtime::Task<void> close();

  const std::shared_ptr<const LogFile>& file() const { return file_; }
  uint64_t dropped_bytes() const { return dropped_; }

 private:
  runtime::Task<void> run();
  std::string_view next_piece() const;

  runtime::Loop& loop_;
  std::shared_ptr<const LogFile> file_;
  Fd descriptor_;  // none: it could not be had
  std::string waiting_;
  size_t written_ = 0;  // of `waiting_`
  bool is_writing_ = false;
  bool is_closed_ = false;
  uint64_t dropped_ = 0;
  runtime::TaskScope tasks_;
};

}  // namespace weft::telemetry
