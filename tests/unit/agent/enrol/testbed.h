#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <functional>
#include <string>

// Two network namespaces, "pod" (10.99.0.2, fd99::2) and "out" (10.99.0.1, fd99::1, the pod's
// gateway), joined by a veth; and three cgroups, pods/podu-1 (that of the pod with the uid u-1),
// proxy and other. Names carry the process id; everything is removed by the destructor. The test
// itself plays ztunnel, from the proxy cgroup.

namespace weft::enrol::testing {

// Empty where tests may capture here; otherwise names what is missing.
std::string missing_for_capture();

// Runs a shell command; the test fails (by a CHECK) where the command does.
void shell(const std::string& command);
std::string shell_output(const std::string& command);

// A forked process whose function returns one string.
class Child {
 public:
  Child(pid_t pid, Fd answer) : pid_(pid), answer_(std::move(answer)) {}
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), answer_(std::move(other.answer_)) {}
  Child& operator=(Child&&) = delete;
  ~Child();              // kills it if it was not waited for
  std::string answer();  // waits for its end
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
  Fd answer_;
};

constexpr const char* kPodUid = "u-1";
constexpr const char* kPodCgroup = "pods/podu-1";

class Testbed {
 public:
  Testbed();
  ~Testbed();
  Testbed(const Testbed&) = delete;
  Testbed& operator=(const Testbed&) = delete;

  const std::string& cgroup() const { return cgroup_; }  // the ancestor of the three
  const std::string& bpffs() const { return bpffs_; }
  const std::string& folder() const { return folder_; }      // for files
  const std::string& pod_name() const { return pod_name_; }  // as `ip netns` knows it
  const std::string& out_name() const { return out_name_; }
  int pod() const { return pod_.get(); }
  int out() const { return out_.get(); }

  // Runs `call` in a process of the cgroup ("pods/podu-1", "proxy", "other") inside the namespace.
  // -1: the test's own namespace.
  Child run(const std::string& cgroup, int netns_fd,
            const std::function<std::string()>& call) const;

 private:
  std::string tag_;
  std::string cgroup_;
  std::string home_cgroup_;
  std::string bpffs_;
  std::string folder_;
  std::string pod_name_;
  std::string out_name_;
  Fd pod_;
  Fd out_;
};

// Blocking sockets with a bound on every wait, for clients, servers and the stand-in for ztunnel.
constexpr int kWaitSeconds = 5;
Fd tcp_socket(int family = AF_INET);
Fd tcp_socket_in(int netns_fd, int family = AF_INET);
int family_of(const std::string& address);           // "[fd99::1]:80": AF_INET6
Fd listen_on(const std::string& address);            // "0.0.0.0:8080"
int connect_to(int fd, const std::string& address);  // 0 or errno
Fd accept_from(int listener);                        // invalid: nobody came in time
bool comes_in_time(int listener, int milliseconds);  // whether somebody can be accepted
std::string local_of(int fd);
std::string peer_of(int fd);
void write_text(int fd, const std::string& text);
std::string read_text(int fd);

}  // namespace weft::enrol::testing
