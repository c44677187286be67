#include "tests/interop/hbone/python_peer.h"

#include "ztunnel/base/check.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace weft::testing {
namespace {

// Debian's own: another python of this machine knows nothing of Debian's packages.
constexpr const char* kPython = "/usr/bin/python3";
constexpr const char* kPeer = WEFT_SOURCE_DIR "/tests/interop/hbone/peer.py";

pid_t spawn(std::vector<std::string> words, int output) {
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  pid_t process = 0;
  const int error =
      posix_spawn(&process, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? process : 0;
}

}  // namespace

std::string why_no_python_peer() {
  if (access(kPython, X_OK) != 0) return std::string(kPython) + " is not installed";
  const std::string command =
      std::string(kPython) + " -c 'import h2.connection, cryptography.x509' 2>/dev/null";
  if (std::system(command.c_str()) != 0) {
    return "python3-h2 or python3-cryptography is not installed";
  }
  return {};
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "weft-hbone-XXXXXX").string();
  CHECK(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() { std::filesystem::remove_all(path_); }

std::string TemporaryFolder::write(const std::string& name, const std::string& text) const {
  const std::string path = path_ + "/" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

PythonPeer::PythonPeer(const TestAuthority& authority, const std::string& identity,
                       const std::string& mode, const std::vector<std::string>& arguments) {
  const Issued issued = authority.issue_pem(identity);
  std::vector<std::string> words{kPython,
                                 kPeer,
                                 mode,
                                 "--certificate",
                                 folder_.write("certificate.pem", issued.certificate_pem),
                                 "--key",
                                 folder_.write("key.pem", issued.key_pem),
                                 "--roots",
                                 folder_.write("roots.pem", authority.root_pem())};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::array<int, 2> pipe_ends{};
  CHECK(pipe2(pipe_ends.data(), O_CLOEXEC) == 0);
  output_ = Fd(pipe_ends[0]);
  const Fd write_end(pipe_ends[1]);
  CHECK(fcntl(output_.get(), F_SETFL, O_NONBLOCK) == 0);
  process_ = spawn(std::move(words), write_end.get());
  CHECK(process_ > 0);
}

PythonPeer::~PythonPeer() {
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

runtime::Task<std::string> PythonPeer::output_with(runtime::Loop& loop, std::string text) {
  std::array<char, 4096> piece{};
  while (text.empty() || !seen_.contains(text)) {
    const ssize_t size = read(output_.get(), piece.data(), piece.size());
    if (size == 0) break;
    if (size > 0) {
      seen_.append(piece.data(), static_cast<size_t>(size));
    } else {
      co_await loop.poll(output_.get(), POLLIN);
    }
  }
  co_return seen_;
}

runtime::Task<std::string> PythonPeer::whole_output(runtime::Loop& loop) {
  return output_with(loop, "");
}

}  // namespace weft::testing
