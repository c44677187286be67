#include "agent/sandbox/container_runner.h"
#include "agent/sandbox/netns.h"
#include "agent/sandbox/pod_runner.h"
#include "ztunnel/runtime/socket.h"

namespace weft::sandbox {

namespace {

constexpr std::chrono::milliseconds kProbeTimeout{1'000};  // Kubernetes' default timeoutSeconds
// While it is not ready yet it is asked more often than periodSeconds: nobody likes to wait.
constexpr std::chrono::milliseconds kUnreadyPeriod{250};

// The status line is all that a probe looks at.
bool is_success(std::string_view head) {
  return head.starts_with("HTTP/1.") && head.size() > 9 && (head[9] == '2' || head[9] == '3');
}

}  // namespace

runtime::Task<bool> answers_probe(runtime::Loop& loop, int netns_fd, SocketAddress address,
                                  ReadinessProbe how) {
  runtime::DialOptions inside;
  inside.netns_fd = netns_fd;
  inside.timeout = kProbeTimeout;
  auto connected = co_await runtime::dial(loop, address, inside);
  if (!connected) co_return false;
  runtime::SocketStream& stream = **connected;
  if (how.path.empty()) co_return true;
  runtime::Deadline deadline(loop, kProbeTimeout, [&stream] { stream.abort(); });
  const std::string request = "GET " + how.path + " HTTP/1.1\r\nHost: " + address.to_string() +
                              "\r\nUser-Agent: weft-sandbox-probe\r\nConnection: close\r\n\r\n";
  if (!co_await stream.write(loop.buffers().copy_of(request))) co_return false;
  std::string head;
  while (head.size() < 12) {
    const auto more = co_await stream.read();
    if (!more || more->empty()) co_return false;
    head.append(more->text());
  }
  co_return is_success(head);
}

runtime::Task<void> ContainerRunner::probe(ReadinessProbe how) {
  runtime::Loop& loop = pod_.cluster().loop;
  const auto netns = open_netns(pod_.space().netns);
  const auto ip = IpAddress::parse(pod_.pod().status().podip());
  if (!netns || !ip) co_return;
  co_await pod_.pause(how.initial_delay);
  while (!pod_.leaving() && !ended_) {
    const bool ready = running_ && co_await answers_probe(loop, netns->get(), {*ip, how.port}, how);
    if (ready != probed_ready_) {
      probed_ready_ = ready;
      pod_.publish();
    }
    co_await pod_.pause(ready ? how.period : kUnreadyPeriod);
  }
}

}  // namespace weft::sandbox
