#include "tests/unit/agent/enrol/testbed.h"

#include "agent/enrol/cgroups.h"
#include "agent/enrol/netns.h"
#include "ztunnel/base/check.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace weft::enrol::testing {
namespace {

void join_cgroup(const std::string& folder) {
  std::ofstream file(folder + "/cgroup.procs");
  file << getpid() << std::flush;
  CHECK(file.good());
}

Fd open_named_netns(const std::string& name) {
  Fd netns(open(("/var/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(netns);
  return netns;
}

}  // namespace

std::string missing_for_capture() {
  if (geteuid() != 0) return "root";
  if (!find_cgroup2_mount()) return "a cgroup2 mount";
  if (std::system("ip -V >/dev/null 2>&1") != 0) return "iproute2 (ip)";
  if (std::system("unshare -n true 2>/dev/null") != 0) return "network namespaces (CAP_SYS_ADMIN)";
  return "";
}

void shell(const std::string& command) {
  if (std::system(command.c_str()) == 0) return;
  std::fprintf(stderr, "failed: %s\n", command.c_str());
  CHECK(false);
}

std::string shell_output(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  CHECK(pipe != nullptr);
  std::string output;
  std::array<char, 4096> chunk{};
  size_t got = 0;
  while ((got = fread(chunk.data(), 1, chunk.size(), pipe)) > 0) output.append(chunk.data(), got);
  pclose(pipe);
  return output;
}

Child::~Child() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

std::string Child::answer() {
  std::string text;
  std::array<char, 4096> chunk{};
  ssize_t got = 0;
  while ((got = read(answer_.get(), chunk.data(), chunk.size())) > 0) {
    text.append(chunk.data(), static_cast<size_t>(got));
  }
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  return text;
}

Testbed::Testbed() : tag_("h6-" + std::to_string(getpid())) {
  pod_name_ = tag_ + "-pod";
  out_name_ = tag_ + "-out";
  shell("ip netns add " + pod_name_ + " && ip netns add " + out_name_);
  shell("ip link add eth0 netns " + pod_name_ + " type veth peer name eth0 netns " + out_name_);
  shell("ip -n " + pod_name_ + " link set lo up && ip -n " + pod_name_ + " link set eth0 up");
  shell("ip -n " + out_name_ + " link set lo up && ip -n " + out_name_ + " link set eth0 up");
  shell("ip -n " + pod_name_ + " addr add 10.99.0.2/24 dev eth0");
  shell("ip -n " + out_name_ + " addr add 10.99.0.1/24 dev eth0");
  shell("ip -n " + pod_name_ + " route add default via 10.99.0.1");
  shell("ip -n " + pod_name_ + " addr add fd99::2/64 dev eth0 nodad");
  shell("ip -n " + out_name_ + " addr add fd99::1/64 dev eth0 nodad");
  shell("ip -n " + pod_name_ + " route add default via fd99::1");
  pod_ = open_named_netns(pod_name_);
  out_ = open_named_netns(out_name_);

  const std::string root = *find_cgroup2_mount();
  home_cgroup_ = root + *cgroup_of(getpid());
  cgroup_ = root + "/" + tag_;
  for (const char* name : {"", "/pods", "/pods/podu-1", "/proxy", "/other"}) {
    std::filesystem::create_directory(cgroup_ + name);
  }
  join_cgroup(cgroup_ + "/proxy");

  folder_ = (std::filesystem::temp_directory_path() / tag_).string();
  bpffs_ = folder_ + "/bpf";
  std::filesystem::create_directories(folder_);
}

Testbed::~Testbed() {
  join_cgroup(home_cgroup_);
  for (const char* name : {"/pods/podu-1", "/pods", "/proxy", "/other", ""}) {
    std::error_code ignored;
    std::filesystem::remove(cgroup_ + name, ignored);
  }
  umount2(bpffs_.c_str(), MNT_DETACH);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
  shell("ip netns del " + pod_name_ + "; ip netns del " + out_name_);
}

Child Testbed::run(const std::string& cgroup, int netns_fd,
                   const std::function<std::string()>& call) const {
  std::array<int, 2> pipe{};
  CHECK(pipe2(pipe.data(), O_CLOEXEC) == 0);
  const pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid != 0) {
    close(pipe[1]);
    return Child(pid, Fd(pipe[0]));
  }
  join_cgroup(cgroup_ + "/" + cgroup);
  if (netns_fd >= 0) CHECK(setns(netns_fd, CLONE_NEWNET) == 0);
  const std::string text = call();
  CHECK(write(pipe[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  _exit(0);
}

Fd tcp_socket(int family) {
  Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(fd);
  const timeval wait{.tv_sec = kWaitSeconds, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
  return fd;
}

Fd tcp_socket_in(int netns_fd, int family) {
  return *in_netns(netns_fd, [family]() -> Result<Fd> { return tcp_socket(family); });
}

int family_of(const std::string& address) { return address.front() == '[' ? AF_INET6 : AF_INET; }

Fd listen_on(const std::string& address) {
  Fd fd = tcp_socket(family_of(address));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_storage storage{};
  const socklen_t length = SocketAddress::parse(address)->to_sockaddr(storage);
  CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0);
  CHECK(listen(fd.get(), 128) == 0);
  return fd;
}

int connect_to(int fd, const std::string& address) {
  sockaddr_storage storage{};
  const socklen_t length = SocketAddress::parse(address)->to_sockaddr(storage);
  return connect(fd, reinterpret_cast<sockaddr*>(&storage), length) == 0 ? 0 : errno;
}

bool comes_in_time(int listener, int milliseconds) {
  pollfd wait{.fd = listener, .events = POLLIN, .revents = 0};
  return poll(&wait, 1, milliseconds) == 1;
}

Fd accept_from(int listener) {
  if (!comes_in_time(listener, kWaitSeconds * 1000)) return {};
  Fd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  const timeval wait{.tv_sec = kWaitSeconds, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  return fd;
}

std::string local_of(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "none";
  return SocketAddress::from_sockaddr(storage).to_string();
}

std::string peer_of(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "none";
  return SocketAddress::from_sockaddr(storage).to_string();
}

void write_text(int fd, const std::string& text) {
  CHECK(send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
}

std::string read_text(int fd) {
  std::array<char, 4096> chunk{};
  const ssize_t got = recv(fd, chunk.data(), chunk.size(), 0);
  if (got < 0) return "error " + std::to_string(errno);
  return {chunk.data(), static_cast<size_t>(got)};
}

}  // namespace weft::enrol::testing
