#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace weft::control {

// A weft-agent as a process of its own, and what it writes to standard error. Killed with the
// object at the latest.
class ControlProcess {
 public:
  explicit ControlProcess(const std::vector<std::string>& args);
  ~ControlProcess();

  // False when it ended, or half a minute passed, without saying so.
  bool wait_for(const std::string& text);
  void send(int signal) const;
  // Exit code, or minus the signal that ended it.
  int join();
  // All of it, once joined.
  const std::string& output() const { return output_; }

 private:
  void read_all(int fd);

  pid_t pid_ = -1;
  int exit_code_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string output_;
  bool ended_ = false;
  std::thread reader_;
};

// The body of the answer to "GET <path>" on a unix socket; empty on any failure.
std::string http_get(const std::string& socket, const std::string& path);

}  // namespace weft::control
