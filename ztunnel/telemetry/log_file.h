#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace weft::telemetry {

// A file, or standard output, that lines are added to by a thread of its own: a full pipe or a slow
// disk holds up no worker. Workers bring many lines at a time. Thread-safe.
class LogFile {
 public:
  // What waits to be written; lines beyond it are dropped and counted.
  static constexpr size_t kWaitingBytesMax = 8 * 1024 * 1024;

  // "/dev/stdout", "/dev/stderr", or a path: made where it is not there, and added to.
  static Result<std::shared_ptr<LogFile>> open(const std::string& path);
  ~LogFile();  // writes what waits
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  void add(std::string_view lines);
  uint64_t dropped_bytes() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  explicit LogFile(Fd file);
  void run();

  Fd file_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string waiting_;
  bool ending_ = false;
  std::atomic<uint64_t> dropped_{0};
  std::thread thread_;
};

// One LogFile for each path, as long as somebody has it. Thread-safe.
class LogFiles {
 public:
  Result<std::shared_ptr<LogFile>> open(const std::string& path);

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<LogFile>> files_;
};

}  // namespace weft::telemetry
