#include "agent/sandbox/spawn.h"

#include "agent/sandbox/files.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weft::sandbox {

namespace {

// ip and nft answer within milliseconds; what takes this long hangs.
constexpr std::chrono::milliseconds kToolTimeout{20'000};

Result<void> set_up_stdio(const SpawnOptions& options) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return fail_errno(errno, "opening /dev/null");
  const int out = options.stdout_fd >= 0 ? options.stdout_fd : null;
  const int wanted[3] = {options.stdin_fd >= 0 ? options.stdin_fd : null, out,
                         options.stderr_fd >= 0 ? options.stderr_fd : out};
  // Copied out of the way first: one of them may be 0, 1 or 2 itself.
  int moved[3];
  for (int i = 0; i < 3; ++i) {
    moved[i] = ::fcntl(wanted[i], F_DUPFD_CLOEXEC, 3);
    if (moved[i] < 0) return fail_errno(errno, "duplicating a descriptor");
  }
  for (int i = 0; i < 3; ++i) {
    if (::dup2(moved[i], i) < 0) return fail_errno(errno, "duplicating a descriptor");
  }
  ::syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  return {};
}

void reset_signals() {
  for (int number = 1; number < 32; ++number) ::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

Error become(const SpawnOptions& options) {
  reset_signals();
  if (options.session) ::setsid();
  if (!options.cgroup.empty()) {
    if (auto joined = write_control_file(options.cgroup + "/cgroup.procs", "0"); !joined) {
      return std::move(joined).error();
    }
  }
  if (options.netns_fd >= 0 && ::setns(options.netns_fd, CLONE_NEWNET) != 0) {
    return errno_error(errno, "joining a network namespace");
  }
  if (auto done = set_up_stdio(options); !done) return std::move(done).error();
  if (options.prepare) {
    if (auto done = options.prepare(); !done) return std::move(done).error();
  }
  if (::chdir(options.cwd.c_str()) != 0) return errno_error(errno, "entering " + options.cwd);
  return replace_process(options.argv, options.env);
}

}  // namespace

Error replace_process(const std::vector<std::string>& argv,
                      const std::optional<std::vector<std::string>>& env) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  std::vector<char*> variables;
  if (env) {
    for (const std::string& variable : *env) {
      variables.push_back(const_cast<char*>(variable.c_str()));
    }
    variables.push_back(nullptr);
    environ = variables.data();  // execvp looks for the program in this PATH
  }
  ::execvp(arguments[0], arguments.data());
  return errno_error(errno, "executing " + argv[0]);
}

Result<Child> spawn(const SpawnOptions& options) {
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return fail_errno(errno, "making a pipe");
  Fd reader(report[0]);
  Fd writer(report[1]);
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(errno, "forking");
  if (pid == 0) {
    // Above the descriptors that a program may expect, and closed by a successful execve.
    const int high = ::fcntl(writer.get(), F_DUPFD_CLOEXEC, 64);
    const std::string why = become(options).to_string();
    [[maybe_unused]] const ssize_t ignored = ::write(high, why.data(), why.size());
    ::_exit(127);
  }
  writer.reset();
  std::string why;
  char chunk[512];
  ssize_t got = 0;
  while ((got = ::read(reader.get(), chunk, sizeof chunk)) > 0 || (got < 0 && errno == EINTR)) {
    if (got > 0) why.append(chunk, static_cast<size_t>(got));
  }
  Child child{pid, Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
  if (!why.empty()) {
    ::waitpid(pid, nullptr, 0);
    return fail(Code::kUnavailable, std::move(why));
  }
  if (!child.pidfd) return fail_errno(errno, "pidfd_open (Linux 5.3 or newer is needed)");
  return child;
}

std::string Exit::to_string() const {
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    return "killed by signal " + std::to_string(number) + " (" + ::strsignal(number) + ")";
  }
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

int Exit::code() const {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Exit reap(const Child& child) {
  Exit exit;
  while (::waitpid(child.pid, &exit.status, 0) < 0 && errno == EINTR) {
  }
  return exit;
}

bool wait_until_ended(const Child& child, std::chrono::milliseconds limit) {
  pollfd ended{child.pidfd.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&ended, 1, static_cast<int>(limit.count()));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

namespace {

Result<std::string> read_back(const Fd& memory) {
  if (::lseek(memory.get(), 0, SEEK_SET) < 0) return fail_errno(errno, "reading a tool's words");
  return read_file("/proc/self/fd/" + std::to_string(memory.get()));
}

}  // namespace

Result<Tool> start_tool(const std::vector<std::string>& argv, const ToolOptions& options) {
  Fd input(::memfd_create("weft-tool-in", MFD_CLOEXEC));
  Fd output(::memfd_create("weft-tool-out", MFD_CLOEXEC));
  Fd errors(::memfd_create("weft-tool-err", MFD_CLOEXEC));
  if (!input || !output || !errors) return fail_errno(errno, "memfd_create");
  if (::write(input.get(), options.input.data(), options.input.size()) < 0 ||
      ::lseek(input.get(), 0, SEEK_SET) < 0) {
    return fail_errno(errno, "passing input to " + argv[0]);
  }
  SpawnOptions how;
  how.argv = argv;
  how.netns_fd = options.netns_fd;
  how.stdin_fd = input.get();
  how.stdout_fd = output.get();
  how.stderr_fd = errors.get();
  auto child = spawn(how);
  if (!child) {
    return Fail(std::move(child).error().in(argv[0] + " cannot be run (is it installed?)"));
  }
  return Tool{argv, std::move(*child), std::move(output), std::move(errors)};
}

Result<std::string> finish_tool(const Tool& tool) {
  if (!wait_until_ended(tool.child, kToolTimeout)) {
    ::kill(tool.child.pid, SIGKILL);
    reap(tool.child);
    return fail(Code::kTimeout, tool.argv[0] + " did not end within 20 s");
  }
  const Exit exit = reap(tool.child);
  if (exit.ok()) return read_back(tool.output);
  std::string words = TRY(read_back(tool.errors));
  while (!words.empty() && words.back() == '\n') words.pop_back();
  std::string command;
  for (const std::string& word : tool.argv) command += (command.empty() ? "" : " ") + word;
  return fail(Code::kInternal, command + ": " + exit.to_string() + ": " + words);
}

Result<std::string> run_tool(const std::vector<std::string>& argv, const ToolOptions& options) {
  const Tool tool = TRY(start_tool(argv, options));
  return finish_tool(tool);
}

}  // namespace weft::sandbox
