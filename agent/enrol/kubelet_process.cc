#include "agent/enrol/kubelet_process.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace weft::enrol {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kListening = "0A";  // TCP_LISTEN
// The tables list sockets that listen first, so their beginning is enough however many connections
// there are.
constexpr size_t kTableBytesMax = 256 * 1024;
// A process with more open files is looked through in part: a kubelet opens its port early.
constexpr int kDescriptorsMax = 65'536;

std::string read_beginning(const char* path) {
  std::ifstream file(path);
  std::string text(kTableBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

// "socket:[12345]" of a link in /proc/<pid>/fd.
uint64_t socket_inode(const fs::path& link) {
  std::array<char, 64> target{};
  const ssize_t length = readlink(link.c_str(), target.data(), target.size());
  constexpr std::string_view kPrefix = "socket:[";
  const std::string_view text(target.data(), length < 0 ? 0 : static_cast<size_t>(length));
  uint64_t inode = 0;
  if (text.starts_with(kPrefix)) {
    std::from_chars(text.data() + kPrefix.size(), text.data() + text.size(), inode);
  }
  return inode;
}

bool holds(const fs::path& process, const std::set<uint64_t>& inodes) {
  std::error_code error;
  int seen = 0;
  for (fs::directory_iterator link(process / "fd", error);
       !error && link != fs::directory_iterator() && ++seen <= kDescriptorsMax;
       link.increment(error)) {
    if (inodes.contains(socket_inode(link->path()))) return true;
  }
  return false;
}

}  // namespace

std::set<uint64_t> listening_inodes(std::string_view table, uint16_t port) {
  std::set<uint64_t> inodes;
  std::istringstream lines{std::string(table)};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    // slot, local address, remote address, state, queues, timer, retransmits, uid, timeout, inode
    std::array<std::string, 10> word;
    for (std::string& one : word) words >> one;
    const size_t colon = word[1].rfind(':');
    if (!words || colon == std::string::npos || word[3] != kListening) continue;
    unsigned local = 0;
    uint64_t inode = 0;
    const char* end = word[1].data() + word[1].size();
    std::from_chars(word[1].data() + colon + 1, end, local, 16);
    std::from_chars(word[9].data(), word[9].data() + word[9].size(), inode);
    if (local == port && inode != 0) inodes.insert(inode);
  }
  return inodes;
}

Result<pid_t> find_listener(uint16_t port) {
  std::set<uint64_t> inodes;
  for (const char* table : {"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"}) {
    inodes.merge(listening_inodes(read_beginning(table), port));
  }
  const std::string where = "on TCP port " + std::to_string(port) + " of this node";
  if (inodes.empty()) return fail(Code::kNotFound, "nobody listens " + where);
  std::error_code error;
  for (fs::directory_iterator process("/proc", error);
       !error && process != fs::directory_iterator(); process.increment(error)) {
    const std::string name = process->path().filename().string();
    pid_t pid = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (parsed.ptr != name.data() + name.size() || pid <= 0) continue;
    if (holds(process->path(), inodes)) return pid;
  }
  return fail(Code::kNotFound,
              "whoever listens " + where +
                  " is not visible here: the agent needs the host's pid namespace");
}

}  // namespace weft::enrol
