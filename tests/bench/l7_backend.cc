// A server that costs as little as one can, so that a proxy before it is what is measured: answers
// every HTTP/1.1 request without a body by the same bytes. For scripts/bench l7.
//   bench_l7_backend IP PORT BODY_BYTES

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

constexpr int kEvents = 256;
constexpr size_t kReadBytes = 64 * 1024;

int listen_on(const char* ip, uint16_t port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  inet_pton(AF_INET, ip, &address.sin_addr);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener, 4096) != 0) {
    std::perror("bench_l7_backend");
    std::exit(1);
  }
  return listener;
}

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

// A request that comes in two pieces is answered when its end comes, unless the end itself is cut:
// proxies send heads whole.
size_t requests_in(std::string_view bytes) {
  size_t count = 0;
  for (size_t at = bytes.find("\r\n\r\n"); at != std::string_view::npos;
       at = bytes.find("\r\n\r\n", at + 4)) {
    ++count;
  }
  return count;
}

void serve(int epoll, int fd, const std::string& answer) {
  static std::array<char, kReadBytes> buffer;
  const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
  if (got <= 0) {
    epoll_ctl(epoll, EPOLL_CTL_DEL, fd, nullptr);
    close(fd);
    return;
  }
  for (size_t left = requests_in({buffer.data(), static_cast<size_t>(got)}); left > 0; --left) {
    if (send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) < 0) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fputs("usage: bench_l7_backend IP PORT BODY_BYTES\n", stderr);
    return 2;
  }
  const auto body = static_cast<size_t>(std::atoi(argv[3]));
  const std::string answer =
      "HTTP/1.1 200 OK\r\nserver: backend\r\ncontent-type: text/plain\r\n"
      "content-length: " +
      std::to_string(body) + "\r\n\r\n" + std::string(body, 'x');
  const int listener = listen_on(argv[1], static_cast<uint16_t>(std::atoi(argv[2])));
  const int epoll = epoll_create1(0);
  watch(epoll, listener);
  std::array<epoll_event, kEvents> events{};
  while (true) {
    const int ready = epoll_wait(epoll, events.data(), kEvents, -1);
    for (int i = 0; i < ready; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      if (fd != listener) {
        serve(epoll, fd, answer);
        continue;
      }
      const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) continue;
      const int on = 1;
      setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(epoll, connection);
    }
  }
}
