// The least a copying TCP proxy can do: splice(2) through a pipe, one thread, epoll. What
// scripts/bench holds the same-node path against.
//
//   bench_splice_proxy LISTEN_PORT TO_PORT TO_NETNS
//       listens on 127.0.0.1 of the namespace it is started in, connects to 127.0.0.1 of the
//       network namespace at the path TO_NETNS: the two legs that ztunnel has between two pods of a
//       node

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

constexpr size_t kPipeBytes = 1 << 20;  // the most an ordinary user may ask for
constexpr int kEventsMax = 256;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

// One direction of a connection.
struct Way {
  int from = -1;
  int to = -1;
  std::array<int, 2> pipe{-1, -1};
  size_t held = 0;  // bytes in the pipe
  bool ended = false;
  bool passed_on = false;

  // Moves what can be moved now; false: the connection broke.
  bool move() {
    constexpr unsigned kFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    while (!passed_on) {
      bool moved = false;
      if (!ended && held < kPipeBytes) {
        const ssize_t in = splice(from, nullptr, pipe[1], nullptr, kPipeBytes, kFlags);
        if (in < 0 && errno != EAGAIN) return false;
        ended = in == 0;
        if (in > 0) held += static_cast<size_t>(in);
        moved = in > 0;
      }
      if (held > 0) {
        const ssize_t out = splice(pipe[0], nullptr, to, nullptr, held, kFlags);
        if (out < 0 && errno != EAGAIN) return false;
        if (out > 0) held -= static_cast<size_t>(out);
        moved = moved || out > 0;
      }
      if (ended && held == 0) {
        shutdown(to, SHUT_WR);
        passed_on = true;
      }
      if (!moved) break;
    }
    return true;
  }
};

struct Connection {
  std::array<Way, 2> ways;
};

int local_socket(int port, bool listens) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const auto* raw = reinterpret_cast<const sockaddr*>(&address);
  if (listens) {
    if (bind(fd, raw, sizeof address) != 0 || listen(fd, 4096) != 0) die("listening");
  } else if (connect(fd, raw, sizeof address) != 0 && errno != EINPROGRESS) {
    die("connect");
  }
  return fd;
}

Connection* join(int epoll, int client, int server, std::vector<Connection*>& by_socket) {
  auto* connection = new Connection;
  for (int i = 0; i < 2; ++i) {
    Way& way = connection->ways[static_cast<size_t>(i)];
    way.from = i == 0 ? client : server;
    way.to = i == 0 ? server : client;
    if (pipe2(way.pipe.data(), O_NONBLOCK) != 0) die("pipe2");
    fcntl(way.pipe[0], F_SETPIPE_SZ, kPipeBytes);
    if (by_socket.size() <= static_cast<size_t>(way.from)) {
      by_socket.resize(static_cast<size_t>(way.from) + 1);
    }
    by_socket[static_cast<size_t>(way.from)] = connection;
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.fd = way.from}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, way.from, &event);
  }
  return connection;
}

void end(Connection* connection, std::vector<Connection*>& by_socket) {
  for (const Way& way : connection->ways) {
    by_socket[static_cast<size_t>(way.from)] = nullptr;
    close(way.from);
    close(way.pipe[0]);
    close(way.pipe[1]);
  }
  delete connection;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: bench_splice_proxy LISTEN_PORT TO_PORT TO_NETNS\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);  // splice(2) knows no MSG_NOSIGNAL
  const int listener = local_socket(std::atoi(argv[1]), true);
  const int netns = open(argv[3], O_RDONLY | O_CLOEXEC);
  // The listener stays where it was made; everything else is dialled over there.
  if (netns < 0 || setns(netns, CLONE_NEWNET) != 0) die("joining the network namespace");
  const int epoll = epoll_create1(0);
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  std::vector<Connection*> by_socket;
  std::array<epoll_event, kEventsMax> events{};
  while (true) {
    const int count = epoll_wait(epoll, events.data(), kEventsMax, -1);
    for (int i = 0; i < count; ++i) {
      const int ready = events[static_cast<size_t>(i)].data.fd;
      if (ready == listener) {
        const int client = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        if (client >= 0) join(epoll, client, local_socket(std::atoi(argv[2]), false), by_socket);
        continue;
      }
      Connection* connection = by_socket[static_cast<size_t>(ready)];
      if (connection == nullptr) continue;
      auto& [there, back] = connection->ways;
      const bool alive = there.move() && back.move();
      if (!alive || (there.passed_on && back.passed_on)) end(connection, by_socket);
    }
  }
}
