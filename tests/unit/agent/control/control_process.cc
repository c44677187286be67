#include "tests/unit/agent/control/control_process.h"

#include "ztunnel/base/check.h"
#include "ztunnel/base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace weft::control {

ControlProcess::ControlProcess(const std::vector<std::string>& args) {
  std::vector<std::string> words = {WEFT_BINARY_DIR "/bin/weft-agent"};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int pipe_ends[2];
  CHECK(::pipe2(pipe_ends, O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDERR_FILENO);
  const int error = ::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe_ends[1]);
  CHECK(error == 0);
  reader_ = std::thread([this, fd = pipe_ends[0]] { read_all(fd); });
}

ControlProcess::~ControlProcess() {
  send(SIGKILL);
  join();
}

void ControlProcess::read_all(int fd) {
  const Fd owned(fd);
  char piece[4096];
  while (true) {
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    const std::scoped_lock lock(mutex_);
    if (got > 0) output_.append(piece, static_cast<size_t>(got));
    if (got <= 0) ended_ = true;
    changed_.notify_all();
    if (ended_) return;
  }
}

bool ControlProcess::wait_for(const std::string& text) {
  std::unique_lock lock(mutex_);
  const auto is_said = [&] { return output_.find(text) != std::string::npos; };
  changed_.wait_for(lock, std::chrono::seconds(30), [&] { return ended_ || is_said(); });
  return is_said();
}

void ControlProcess::send(int signal) const {
  if (pid_ > 0) ::kill(pid_, signal);
}

int ControlProcess::join() {
  if (pid_ <= 0) return exit_code_;
  int status = 0;
  CHECK(::waitpid(pid_, &status, 0) == pid_);
  pid_ = -1;
  reader_.join();
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return exit_code_;
}

std::string http_get(const std::string& socket, const std::string& path) {
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(socket.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, socket.data(), socket.size());
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return "";
  const std::string request =
      "GET " + path + " HTTP/1.1\r\nHost: control\r\nConnection: close\r\n\r\n";
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return "";
  std::string response;
  char piece[4096];
  for (ssize_t got = 0; (got = ::read(fd.get(), piece, sizeof piece)) > 0;) {
    response.append(piece, static_cast<size_t>(got));
  }
  const size_t body = response.find("\r\n\r\n");
  const bool good = response.starts_with("HTTP/1.1 200 ") && body != std::string::npos;
  return good ? response.substr(body + 4) : "";
}

}  // namespace weft::control
