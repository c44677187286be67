// What `weft precheck` tries: the thing itself, never a version number. Probes of bpf(2) load
// programs of two instructions and drop them again.

#include "agent/cli/kernel_probes.h"

#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/bpf.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>

namespace weft::cli {

namespace {

using Probed = Result<std::string>;

Probed missing(std::string why) { return fail(Code::kUnsupported, std::move(why)); }

Probed missing_errno(const char* what) { return fail_errno(errno, what); }

std::string contents_of(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

Probed exists(const char* path) {
  if (access(path, F_OK) != 0) return missing(std::string("there is no ") + path);
  return std::string(path);
}

// Capabilities

constexpr int kSysAdmin = 21;  // of linux/capability.h
constexpr int kBpf = 39;

struct Capability {
  int bit;
  const char* name;
};
constexpr Capability kCapabilities[] = {
    {12, "CAP_NET_ADMIN"}, {13, "CAP_NET_RAW"}, {kSysAdmin, "CAP_SYS_ADMIN"}, {kBpf, "CAP_BPF"}};

// The bits of this process's capabilities; none where it does not know them.
uint64_t effective_capabilities() {
  const std::string status = contents_of("/proc/self/status");
  constexpr std::string_view kLine = "CapEff:";
  const size_t at = status.find(kLine);
  if (at == std::string::npos) return 0;
  return std::strtoull(status.c_str() + at + kLine.size(), nullptr, 16);
}

bool may_use_bpf() {
  return (effective_capabilities() & (uint64_t{1} << kSysAdmin | uint64_t{1} << kBpf)) != 0;
}

Probed probe_privileges() {
  const uint64_t effective = effective_capabilities();
  std::string there;
  std::string lacking;
  for (const Capability& one : kCapabilities) {
    std::string& list = (effective >> one.bit & 1) != 0 ? there : lacking;
    list += (list.empty() ? "" : ", ") + std::string(one.name);
  }
  if (!lacking.empty()) return missing("this process has no " + lacking + "; run it as root");
  return there;
}

// Leaves and comes back, as the agent does with every pod.
Probed probe_setns() {
  const Fd home(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!home) return missing_errno("opening /proc/self/ns/net");
  if (unshare(CLONE_NEWNET) != 0) return missing_errno("making a network namespace");
  if (setns(home.get(), CLONE_NEWNET) != 0) return missing_errno("coming back from it");
  return std::string("network namespaces can be made and entered");
}

// cgroups and bpf(2)

Probed probe_cgroup2() {
  std::istringstream mounts(contents_of("/proc/mounts"));
  std::string device;
  std::string place;
  std::string type;
  std::string rest;
  while (mounts >> device >> place >> type && std::getline(mounts, rest)) {
    if (type == "cgroup2") return place;
  }
  return missing("no cgroup2 is mounted");
}

// What one of libbpf's probes says. Without privileges it would say yes or no at random.
Probed said_by(int (*probe)()) {
  if (!may_use_bpf()) return missing("cannot be tried without CAP_BPF or CAP_SYS_ADMIN");
  const int result = probe();
  if (result < 0) return fail_errno(-result, "trying it");
  return result == 1 ? Probed("") : missing("this kernel does not have it");
}

template <bpf_prog_type type>
Probed probe_program() {
  return said_by([] { return libbpf_probe_bpf_prog_type(type, nullptr); });
}

template <bpf_map_type type>
Probed probe_map() {
  return said_by([] { return libbpf_probe_bpf_map_type(type, nullptr); });
}

template <bpf_prog_type type, bpf_func_id helper>
Probed probe_helper() {
  return said_by([] { return libbpf_probe_bpf_helper(type, helper, nullptr); });
}

// Asks for a link to a cgroup that does not exist: a kernel that knows such links says so.
Probed probe_cgroup_link() {
  // r0 = 1; exit
  const bpf_insn allow[] = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1},
                            {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof options;
  options.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
  const Fd program(bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "weft_precheck", "GPL", allow,
                                 std::size(allow), &options));
  if (!program) return missing_errno("loading a connect hook");
  const Fd link(bpf_link_create(program.get(), -1, BPF_CGROUP_INET4_CONNECT, nullptr));
  return errno == EBADF ? Probed("") : missing_errno("linking a program to a cgroup");
}

Probed probe_bpffs() {
  std::istringstream known(contents_of("/proc/filesystems"));
  for (std::string line; std::getline(known, line);) {
    if (line.ends_with("\tbpf")) return std::string("can be mounted");
  }
  return missing("/proc/filesystems does not name bpf");
}

Probed probe_btf() { return exists("/sys/kernel/btf/vmlinux"); }

// Sockets and routes

Probed probe_fwmark_accept() { return exists("/proc/sys/net/ipv4/tcp_fwmark_accept"); }

Probed probe_transparent() {
  const Fd socket_fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (!socket_fd) return missing_errno("making a socket");
  if (setsockopt(socket_fd.get(), IPPROTO_IP, IP_TRANSPARENT, &on, sizeof on) != 0) {
    return missing_errno("setting IP_TRANSPARENT");
  }
  return std::string();
}

// Asks for the list of rules; without CONFIG_IP_MULTIPLE_TABLES there is nobody to answer.
Probed probe_rules() {
  const Fd route(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!route) return missing_errno("opening rtnetlink");
  struct {
    nlmsghdr header;
    fib_rule_hdr rule;
  } question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = RTM_GETRULE;
  question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  question.rule.family = AF_INET;
  alignas(nlmsghdr) char answer[8192];
  if (send(route.get(), &question, sizeof question, 0) < 0)
    return missing_errno("asking for rules");
  const ssize_t got = recv(route.get(), answer, sizeof answer, 0);
  if (got < static_cast<ssize_t>(sizeof(nlmsghdr))) return missing_errno("asking for rules");
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
  return header->nlmsg_type == RTM_NEWRULE ? Probed("")
                                           : missing("the kernel has no rules for routes");
}

// The loop and memory

Probed probe_uring() {
  const auto loop = runtime::Loop::create(runtime::Backend::kUring);
  if (!loop) return Fail(loop.error());
  return std::string("rings with registered buffers");
}

Probed probe_defer_taskrun() {
  io_uring ring{};
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  const int result = io_uring_queue_init_params(4, &ring, &parameters);
  if (result != 0) return fail_errno(-result, "making such a ring");
  io_uring_queue_exit(&ring);
  return std::string();
}

Probed probe_sealing() {
  const Fd memory(memfd_create("weft-precheck", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return missing_errno("memfd_create");
  if (fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)) {
    return missing_errno("sealing a memfd");
  }
  return std::string();
}

// A node's ztunnel holds two to four descriptors a connection.
constexpr rlim_t kFilesWanted = 65'536;

Probed probe_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return missing_errno("getrlimit");
  const std::string text = std::to_string(limit.rlim_max) + " files a process";
  return limit.rlim_max >= kFilesWanted ? Probed(text) : missing("only " + text);
}

}  // namespace

std::vector<Feature> kernel_features() {
  const std::string no_capture = "nothing can be captured: the agent does not start";
  libbpf_set_print(nullptr);  // a probe that fails is no news
  return {
      {"privileges", true, "the agent cannot load programs or enter pods", probe_privileges},
      {"setns", true, "pods cannot be enrolled", probe_setns},
      {"cgroup2 mount", true, no_capture, probe_cgroup2},
      {"connect hooks", true, no_capture, probe_program<BPF_PROG_TYPE_CGROUP_SOCK_ADDR>},
      {"cgroup links", true, "hooks could not outlive an agent: it does not start",
       probe_cgroup_link},
      {"bpf_set_retval", true, "a refused connect(2) could not say why: the agent does not start",
       probe_helper<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval>},
      {"netns cookies", true, "pods could not be told apart: the agent does not start",
       probe_helper<BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie>},
      {"sk_lookup", true, no_capture, probe_program<BPF_PROG_TYPE_SK_LOOKUP>},
      {"sockmap", true, no_capture, probe_map<BPF_MAP_TYPE_SOCKMAP>},
      {"sockops", true, "applications would not see their clients' addresses: it does not start",
       probe_program<BPF_PROG_TYPE_SOCK_OPS>},
      {"bpffs", true, "hooks could not outlive an agent: it does not start", probe_bpffs},
      {"rules by fwmark", true, "captured connections could not be looped back", probe_rules},
      {"IP_TRANSPARENT", true, "ztunnel cannot dial applications from their clients' addresses",
       probe_transparent},
      {"tcp_fwmark_accept", true, "applications' answers would miss ztunnel", probe_fwmark_accept},
      {"BTF", false, "nothing today; tracing the kernel will need it", probe_btf},
      {"io_uring", false, "ztunnel uses epoll", probe_uring},
      {"io_uring DEFER_TASKRUN", false, "io_uring with COOP_TASKRUN, or epoll",
       probe_defer_taskrun},
      {"memfd sealing", false, "identities are not parked: a new ztunnel asks the CA first",
       probe_sealing},
      {"open files", false, "a ztunnel carries about a third as many connections at once",
       probe_files},
  };
}

}  // namespace weft::cli
