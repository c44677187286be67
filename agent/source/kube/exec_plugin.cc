#include "agent/source/kube/exec_plugin.h"

#include "agent/objects/names.h"
#include "agent/objects/tree.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/file.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

extern char** environ;

namespace weft::source::kube {
namespace {

using objects::Tree;
using runtime::Task;

// A plugin that asks a cloud's token service takes a second or two.
constexpr std::chrono::seconds kTimeout{60};
constexpr size_t kComplaintBytesMax = 512;

struct Pipe {
  Fd read_end;
  Fd write_end;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "making a pipe");
  Pipe pipe{Fd(ends[0]), Fd(ends[1])};
  // Ours only: a plugin need not know of EAGAIN.
  ::fcntl(pipe.read_end.get(), F_SETFL, O_NONBLOCK);
  return pipe;
}

// KUBERNETES_EXEC_INFO: what a plugin is told of the cluster.
std::string exec_info(const ApiConfig& config) {
  Tree spec = Tree::map();
  if (config.exec->provide_cluster_info) {
    Tree cluster = Tree::map();
    cluster.add("server", Tree::of("https://" + config.authority() + config.path_prefix));
    if (!config.server_name.empty()) cluster.add("tls-server-name", Tree::of(config.server_name));
    spec.add("cluster", std::move(cluster));
  }
  spec.add("interactive", Tree::of(false));
  Tree info = Tree::map();
  info.add("apiVersion", Tree::of(config.exec->api_version));
  info.add("kind", Tree::of(std::string("ExecCredential")));
  info.add("spec", std::move(spec));
  return objects::write_json(info);
}

std::vector<std::string> environment_of(const ApiConfig& config) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  for (const auto& [name, value] : config.exec->environment) all.push_back(name + "=" + value);
  all.push_back("KUBERNETES_EXEC_INFO=" + exec_info(config));
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<pid_t> spawn(const ApiConfig& config, int output, int complaints) {
  std::vector<std::string> arguments = {config.exec->command};
  arguments.insert(arguments.end(), config.exec->arguments.begin(), config.exec->arguments.end());
  std::vector<std::string> environment = environment_of(config);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, 1);
  posix_spawn_file_actions_adddup2(&files, complaints, 2);
  // The agent blocks the signals that end it; its children are to have them.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, config.exec->command.c_str(), &files, &attributes,
                                    pointers_to(arguments).data(), pointers_to(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (failed != 0) return fail_errno(failed, config.exec->command);
  return pid;
}

// Until the writer has closed it, or `text` is full: what follows is dropped.
Task<void> read_pipe(runtime::Loop& loop, int fd, size_t bytes_max, std::string& text,
                     const bool& given_up) {
  std::array<char, 4096> piece{};
  while (!given_up) {
    const int ready = co_await loop.poll(fd, POLLIN);
    if (ready < 0) co_return;
    const ssize_t got = ::read(fd, piece.data(), piece.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) co_return;
    text.append(piece.data(), std::min(static_cast<size_t>(got), bytes_max - text.size()));
  }
}

struct Outcome {
  std::string output;
  std::string complaints;
  int status = 0;
  bool timed_out = false;
};

Task<Result<Outcome>> run(runtime::Loop& loop, const ApiConfig& config) {
  Outcome outcome;
  Pipe output = CO_TRY(make_pipe());
  Pipe complaints = CO_TRY(make_pipe());
  const pid_t pid = CO_TRY(spawn(config, output.write_end.get(), complaints.write_end.get()));
  output.write_end.reset();
  complaints.write_end.reset();
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  {
    const runtime::Deadline deadline(loop, kTimeout, [&] {
      outcome.timed_out = true;
      ::kill(pid, SIGKILL);
      // Its own children may hold the pipes open.
      loop.cancel(output.read_end.get());
      loop.cancel(complaints.read_end.get());
    });
    runtime::TaskScope readers;
    readers.spawn(read_pipe(loop, output.read_end.get(), kSmallFileBytesMax, outcome.output,
                            outcome.timed_out));
    readers.spawn(read_pipe(loop, complaints.read_end.get(), kComplaintBytesMax, outcome.complaints,
                            outcome.timed_out));
    co_await readers.join();
    co_await loop.poll(process.get(), POLLIN);
  }
  ::waitpid(pid, &outcome.status, 0);
  co_return outcome;
}

std::string how_it_ended(const Outcome& outcome) {
  if (outcome.timed_out) return "did not end within " + std::to_string(kTimeout.count()) + " s";
  if (WIFEXITED(outcome.status)) {
    return "exit status " + std::to_string(WEXITSTATUS(outcome.status));
  }
  return "killed by signal " + std::to_string(WTERMSIG(outcome.status));
}

}  // namespace

Result<ExecCredential> parse_exec_credential(std::string_view json, const ExecPlugin& plugin) {
  const std::string who = "exec plugin " + plugin.command + ": ";
  const auto wrong = [&](const std::string& what) { return fail(Code::kInvalid, who + what); };
  const auto document = objects::parse_json(json);
  if (!document) return wrong("printed no ExecCredential: " + document.error().to_string());
  if (document->text_of("kind") != "ExecCredential" ||
      document->text_of("apiVersion") != plugin.api_version) {
    return wrong("expected an ExecCredential of " + plugin.api_version + ", got \"" +
                 std::string(document->text_of("kind")) + "\" of \"" +
                 std::string(document->text_of("apiVersion")) + "\"");
  }
  const Tree* status = document->find("status");
  if (status == nullptr) return wrong("status: missing");
  ExecCredential credential;
  credential.token = status->text_of("token");
  credential.certificate_pem = status->text_of("clientCertificateData");
  credential.key_pem = status->text_of("clientKeyData");
  if (credential.certificate_pem.empty() != credential.key_pem.empty()) {
    return wrong("status: clientCertificateData and clientKeyData need each other");
  }
  if (credential.token.empty() && credential.certificate_pem.empty()) {
    return wrong("status: expected a token or a client certificate");
  }
  if (const std::string_view time = status->text_of("expirationTimestamp"); !time.empty()) {
    const auto seconds = objects::parse_time(time);
    if (!seconds) return wrong("status.expirationTimestamp: expected a time as RFC 3339 has it");
    credential.expires = std::chrono::system_clock::time_point(std::chrono::seconds(*seconds));
  }
  return credential;
}

Task<Result<ExecCredential>> run_exec_plugin(runtime::Loop& loop, ApiConfig config) {
  const ExecPlugin& plugin = *config.exec;
  const Result<Outcome> outcome = co_await run(loop, config);
  if (!outcome) {
    std::string words = "exec plugin " + plugin.command + " cannot be run";
    if (!plugin.install_hint.empty()) words += "; " + plugin.install_hint;
    co_return Fail(Error(Code::kUnavailable, std::move(words), outcome.error()));
  }
  if (outcome->status != 0 || outcome->timed_out) {
    co_return fail(Code::kUnavailable, "exec plugin " + plugin.command + ": " +
                                           how_it_ended(*outcome) + ": " + outcome->complaints);
  }
  co_return parse_exec_credential(outcome->output, plugin);
}

}  // namespace weft::source::kube
