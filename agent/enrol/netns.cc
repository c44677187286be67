#include "agent/enrol/netns.h"

#include "ztunnel/base/check.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

namespace weft::enrol {

Result<Fd> open_netns_of(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
  Fd netns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!netns) return fail_errno(errno, "opening " + path);
  return netns;
}

Result<uint64_t> netns_cookie(int netns_fd) {
  return in_netns(netns_fd, []() -> Result<uint64_t> {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno(errno, "making a socket inside the pod");
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    if (getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
      return fail_errno(errno, "reading the netns cookie (SO_NETNS_COOKIE, Linux 5.14)");
    }
    return cookie;
  });
}

bool is_same_netns(int one, int other) {
  struct stat a{};
  struct stat b{};
  return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

Result<NetnsBracket> NetnsBracket::enter(int netns_fd) {
  Fd own(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return fail_errno(errno, "opening this thread's network namespace");
  if (setns(netns_fd, CLONE_NEWNET) != 0) {
    return fail_errno(errno, "entering the pod's network namespace");
  }
  return NetnsBracket(std::move(own));
}

NetnsBracket::~NetnsBracket() {
  if (own_) CHECK(setns(own_.get(), CLONE_NEWNET) == 0);
}

}  // namespace weft::enrol
