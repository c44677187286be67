// How one of Weft's own processes is kept running, and replaced without a gap.
//
// The request for a replacement is a file, processes/<name>.rollout: "wanted" until the supervisor
// has answered in it, "done: .." or "failed: ..".

#include "agent/sandbox/process.h"

#include "agent/sandbox/cgroup.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/netns.h"
#include "agent/sandbox/spawn.h"
#include "ztunnel/base/log.h"
#include "ztunnel/runtime/sync.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <memory>
#include <thread>

namespace weft::sandbox {

namespace {

using runtime::Loop;
using runtime::Task;

constexpr std::chrono::milliseconds kRestartDelayMin{200};
constexpr std::chrono::milliseconds kRestartDelayMax{5'000};
// What dies later was not stopped by a mistake at its start.
constexpr std::chrono::seconds kRanWell{1};
constexpr std::chrono::milliseconds kNeedsTurn{50};
constexpr std::chrono::milliseconds kRequestTurn{50};
constexpr std::chrono::seconds kReadyTimeout{30};
constexpr std::chrono::seconds kAnswerTimeout{40};  // of the supervisor: behind kReadyTimeout
constexpr std::string_view kWanted = "wanted\n";

Result<void> raise_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return fail_errno(errno, "setrlimit");
  return {};
}

std::string state_file(const Layout& layout, const std::string& name) {
  return layout.processes() + "/" + name;
}
std::string request_file(const Layout& layout, const std::string& name) {
  return state_file(layout, name) + ".rollout";
}

void note(const Layout& layout, const std::string& name, const ProcessState& state) {
  if (auto written = write_process_state(layout, name, state); !written) {
    log::warn("supervisor").say(written.error().to_string());
  }
}

// A process that runs, until somebody has reaped it.
struct Running {
  Child child;
  std::string end;  // how it ended; empty while it runs
  runtime::Event changed;
};
using RunningPtr = std::shared_ptr<Running>;

Task<void> reap_at_end(Loop& loop, std::string name, RunningPtr running) {
  co_await loop.poll(running->child.pidfd.get(), POLLIN);
  running->end = "ended: " + reap(running->child).to_string();
  log::warn("supervisor").field("process", name).field("pid", running->child.pid).say(running->end);
  running->changed.wake();
}

Result<RunningPtr> start_process(Loop& loop, const Layout& layout, const ProcessSpec& spec,
                                 const std::vector<std::string>& more_flags,
                                 const std::string& notify_socket) {
  TRY(make_cgroup(spec.cgroup));
  const Fd netns = TRY(open_netns(spec.netns));
  const std::string log_path = layout.process_log(spec.name);
  const Fd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return fail_errno(errno, "opening " + log_path);
  SpawnOptions how;
  how.argv = spec.argv;
  how.argv.insert(how.argv.end(), more_flags.begin(), more_flags.end());
  if (!notify_socket.empty()) {
    how.env.emplace();
    for (char** variable = environ; *variable != nullptr; ++variable) {
      how.env->emplace_back(*variable);
    }
    how.env->push_back("NOTIFY_SOCKET=" + notify_socket);
  }
  how.cgroup = spec.cgroup;
  how.netns_fd = netns.get();
  how.stdout_fd = log.get();
  how.prepare = raise_open_files;
  auto running = std::make_shared<Running>();
  running->child = TRY(spawn(how));
  log::info("supervisor")
      .field("process", spec.name)
      .field("pid", running->child.pid)
      .say("started");
  loop.spawn(reap_at_end(loop, spec.name, running));
  return running;
}

std::string first_missing(const ProcessSpec& spec) {
  for (const std::string& file : spec.needs) {
    if (::access(file.c_str(), R_OK) != 0) return file;
  }
  return "";
}

// Where the new process says that it is ready; removed with this.
class NotifySocket {
 public:
  static Result<NotifySocket> make(std::string path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return fail(Code::kInvalid, path + " is too long");
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return fail_errno(errno, "making a unix socket");
    ::unlink(path.c_str());
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      return fail_errno(errno, "binding " + path);
    }
    return NotifySocket(std::move(path), std::move(socket));
  }
  NotifySocket(NotifySocket&& other) noexcept
      : path_(std::exchange(other.path_, "")), socket_(std::move(other.socket_)) {}
  NotifySocket& operator=(NotifySocket&&) = delete;
  ~NotifySocket() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }
  bool has_said_ready() {
    char text[256];
    const ssize_t got = ::recv(socket_.get(), text, sizeof text, 0);
    return got > 0 && std::string_view(text, static_cast<size_t>(got)).find("READY=1") !=
                          std::string_view::npos;
  }

 private:
  NotifySocket(std::string path, Fd socket) : path_(std::move(path)), socket_(std::move(socket)) {}
  std::string path_;
  Fd socket_;
};

// Starts the successor and waits until it serves; one that does not is killed.
Task<Result<RunningPtr>> start_successor(Loop& loop, const Layout& layout,
                                         const ProcessSpec& spec) {
  auto notify = CO_TRY(NotifySocket::make(state_file(layout, spec.name) + ".notify"));
  auto next = CO_TRY(start_process(loop, layout, spec, spec.successor_flags, notify.path()));
  const auto end = loop.now() + kReadyTimeout;
  while (!notify.has_said_ready()) {
    if (!next->end.empty()) {
      co_return fail(Code::kUnavailable, "the new " + spec.name + " " + next->end + ": " +
                                             tail_of(layout.process_log(spec.name), 1));
    }
    if (loop.now() >= end) {
      ::kill(next->child.pid, SIGKILL);
      co_return fail(Code::kUnavailable, "the new " + spec.name + " was not ready after 30 s: " +
                                             tail_of(layout.process_log(spec.name), 1));
    }
    co_await loop.sleep(std::chrono::milliseconds(10));
  }
  co_return next;
}

Task<void> replace(Loop& loop, const Layout& layout, const ProcessSpec& spec, RunningPtr& current) {
  std::string answer;
  if (spec.successor_flags.empty()) {
    answer = "failed: " + spec.name + " cannot be replaced while it runs";
  } else if (auto next = co_await start_successor(loop, layout, spec)) {
    const pid_t old = current->child.pid;
    if (current->end.empty()) ::kill(old, SIGTERM);
    current = std::move(*next);
    answer = "done: " + spec.name + ": pid " + std::to_string(current->child.pid) +
             " serves, pid " + std::to_string(old) + " lets its connections end";
  } else {
    answer = "failed: " + next.error().to_string();
  }
  log::info("supervisor").field("process", spec.name).say("rollout " + answer);
  if (auto said = write_file_atomically(request_file(layout, spec.name), answer); !said) {
    log::warn("supervisor").say(said.error().to_string());
  }
}

// Until the process that runs has ended; it may have been replaced meanwhile.
Task<void> watch(Loop& loop, const Layout& layout, const ProcessSpec& spec, RunningPtr& current,
                 ProcessState& state) {
  const std::string request = request_file(layout, spec.name);
  while (current->end.empty()) {
    if (::access(request.c_str(), F_OK) == 0 && read_file(request).value_or("") == kWanted) {
      co_await replace(loop, layout, spec, current);
      state.pid = current->child.pid;
      note(layout, spec.name, state);
      continue;
    }
    const RunningPtr awaited = current;
    const runtime::Deadline turn(loop, kRequestTurn, [&awaited] { awaited->changed.wake(); });
    co_await awaited->changed.wait();
  }
}

}  // namespace

Task<void> keep_running(Loop& loop, const Layout& layout, ProcessSpec spec) {
  std::chrono::milliseconds delay = kRestartDelayMin;
  ProcessState state;
  while (true) {
    if (const std::string missing = first_missing(spec); !missing.empty()) {
      const std::string waiting = "waiting for " + missing;
      if (state.state != waiting) {
        state.state = waiting;
        note(layout, spec.name, state);
      }
      co_await loop.sleep(kNeedsTurn);
      continue;
    }
    const auto began = loop.now();
    auto started = start_process(loop, layout, spec, {}, "");
    if (started) {
      RunningPtr current = std::move(*started);
      state.state = "running";
      state.pid = current->child.pid;
      note(layout, spec.name, state);
      co_await watch(loop, layout, spec, current, state);
      state.state = current->end;
    } else {
      state.state = "ended: " + started.error().to_string();
      log::warn("supervisor").field("process", spec.name).say(state.state);
    }
    state.pid = 0;
    ++state.restarts;
    note(layout, spec.name, state);
    if (loop.now() - began > kRanWell) delay = kRestartDelayMin;
    co_await loop.sleep(delay);
    delay = std::min(delay * 2, kRestartDelayMax);
  }
}

Result<void> write_process_state(const Layout& layout, const std::string& name,
                                 const ProcessState& state) {
  return write_file_atomically(
      state_file(layout, name),
      std::to_string(state.restarts) + " " + std::to_string(state.pid) + " " + state.state + "\n");
}

Result<ProcessState> read_process_state(const Layout& layout, const std::string& name) {
  const std::string text = TRY(read_file(state_file(layout, name)));
  ProcessState state;
  const char* end = text.data() + text.size();
  auto next = std::from_chars(text.data(), end, state.restarts).ptr;
  if (next != end) next = std::from_chars(next + 1, end, state.pid).ptr;
  if (next != end) state.state.assign(next + 1, end);
  while (!state.state.empty() && state.state.back() == '\n') state.state.pop_back();
  return state;
}

Result<std::string> replace_running(const Layout& layout, const std::string& name) {
  const ProcessState before = TRY(read_process_state(layout, name));
  if (before.state != "running") {
    return fail(Code::kUnavailable, name + " is not running: " + before.state);
  }
  const std::string request = request_file(layout, name);
  if (read_file(request).value_or("") == kWanted) {
    return fail(Code::kRefused, "a rollout of " + name + " is under way already");
  }
  TRY(write_file_atomically(request, kWanted));
  const auto end = std::chrono::steady_clock::now() + kAnswerTimeout;
  std::string answer(kWanted);
  while (answer == kWanted) {
    if (std::chrono::steady_clock::now() >= end) {
      ::unlink(request.c_str());
      return fail(Code::kTimeout, "the supervisor did not answer");
    }
    std::this_thread::sleep_for(kRequestTurn);
    answer = TRY(read_file(request));
  }
  ::unlink(request.c_str());
  constexpr std::string_view kDone = "done: ";
  if (answer.starts_with(kDone)) return answer.substr(kDone.size());
  return fail(Code::kUnavailable, answer);
}

}  // namespace weft::sandbox
