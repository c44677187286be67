#include "agent/sandbox/port_forward.h"

#include "agent/sandbox/netns.h"
#include "agent/sandbox/pod_space.h"
#include "ztunnel/runtime/socket.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace weft::sandbox {

namespace {

using runtime::Loop;
using runtime::SocketStream;
using runtime::Task;

constexpr int kBacklog = 128;

Result<uint16_t> parse_port(std::string_view text, const std::string& whole) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) {
    return fail(Code::kInvalid, "\"" + whole + "\": expected LOCAL:REMOTE, two port numbers");
  }
  return port;
}

// Copies until the end of the stream or an error, and passes either on.
Task<void> copy(SocketStream& from, SocketStream& to) {
  while (true) {
    auto bytes = co_await from.read();
    if (!bytes) {
      to.abort();
      co_return;
    }
    if (bytes->empty()) {
      [[maybe_unused]] const auto ended = co_await to.shutdown_write();
      co_return;
    }
    if (auto written = co_await to.write(std::move(*bytes)); !written) {
      from.abort();
      co_return;
    }
  }
}

struct Target {
  int netns_fd = -1;
  IpAddress pod_ip;
  uint16_t port = 0;
};

Task<void> forward_one(Loop& loop, Fd connection, Target target) {
  SocketStream client(loop, std::move(connection));
  const SocketAddress loopback{*IpAddress::parse("127.0.0.1"), target.port};
  runtime::DialOptions inside;
  inside.netns_fd = target.netns_fd;
  auto server = co_await runtime::dial(loop, loopback, inside);
  if (!server) server = co_await runtime::dial(loop, {target.pod_ip, target.port}, inside);
  if (!server) {
    client.abort();
    co_return;
  }
  runtime::TaskScope both;
  both.spawn(copy(client, **server));
  both.spawn(copy(**server, client));
  co_await both.join();
}

Task<void> accept_all(Loop& loop, int listener, Target target) {
  while (true) {
    const int accepted = co_await loop.accept(listener);
    if (accepted == -ECANCELED) co_return;
    if (accepted < 0) {
      co_await loop.sleep(std::chrono::milliseconds(50));
      continue;
    }
    loop.spawn(forward_one(loop, Fd(accepted), target));
  }
}

Task<void> wait_for_end(Loop& loop, int pidfd) {
  co_await loop.poll(pidfd, POLLIN);
  loop.stop();
}

struct Listening {
  Fd socket;
  Target target;
};

Result<Listening> open_listener(const Forward& forward, const Target& target,
                                const std::function<void(const std::string&)>& say) {
  const SocketAddress address{TRY(IpAddress::parse("127.0.0.1")), forward.local};
  auto socket = runtime::listen_in(-1, address, kBacklog);
  if (!socket) {
    return Fail(std::move(socket).error().in("127.0.0.1:" + std::to_string(forward.local) +
                                             " cannot be listened on (is the port in use?)"));
  }
  const SocketAddress bound = TRY(runtime::local_address(socket->get()));
  say("Forwarding from " + bound.to_string() + " -> " + std::to_string(forward.remote));
  Target own = target;
  own.port = forward.target;
  return Listening{std::move(*socket), own};
}

Result<void> run(const Layout& layout, const PodPtr& pod, const std::vector<Forward>& forwards,
                 const std::function<void(const std::string&)>& say) {
  const pid_t pause =
      TRY(pause_of(layout.pod_cgroup(pod->spec().nodename(), pod->metadata().uid())));
  const Fd alive(static_cast<int>(::syscall(SYS_pidfd_open, pause, 0)));
  const Fd netns = TRY(open_netns(layout.pod_netns(*pod)));
  const auto loop = TRY(Loop::create_best());
  const Target target{netns.get(), TRY(IpAddress::parse(pod->status().podip())), 0};
  std::vector<Listening> listening;
  for (const Forward& forward : forwards) {
    listening.push_back(TRY(open_listener(forward, target, say)));
  }
  for (const Listening& one : listening) {
    loop->spawn(accept_all(*loop, one.socket.get(), one.target));
  }
  loop->spawn(wait_for_end(*loop, alive.get()));
  loop->run();
  // What is still open ends with the process: connections to a pod that is gone.
  say("error: lost connection to pod");
  std::fflush(stdout);
  ::_exit(1);
}

}  // namespace

Result<Forward> parse_forward(const std::string& text) {
  const size_t colon = text.find(':');
  Forward forward;
  forward.remote =
      TRY(parse_port(colon == std::string::npos ? text : text.substr(colon + 1), text));
  if (colon == std::string::npos) {
    forward.local = forward.remote;
  } else if (colon > 0) {
    forward.local = TRY(parse_port(text.substr(0, colon), text));
  }
  return forward;
}

Error forward_ports(const Layout& layout, const PodPtr& pod, std::vector<Forward> forwards,
                    const std::function<void(const std::string&)>& say) {
  auto ended = run(layout, pod, forwards, say);
  return ended ? Error(Code::kClosed, "the pod has ended") : std::move(ended).error();
}

}  // namespace weft::sandbox
