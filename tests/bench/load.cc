// The load of scripts/bench, the same for everybody it measures.
//
//   bench_load serve PORT                      a server; what a connection's first byte asks for:
//                                              'S' drop what comes, 'R' send without end, else echo
//   bench_load run MODE IP:PORT CONNECTIONS SECONDS
//       bulk     send as fast as it goes       bulkrev  receive as fast as it goes
//       rr       64 bytes there and back       crr      the same, each over a new connection
//   bench_load hold IP:PORT CONNECTIONS        opens them, asks each once, says "ready", keeps them
//                                              until its standard input ends
//
// `run` prints one line of JSON: what was moved in all (for CPU per unit), and rates and latencies
// without the first fifth of the time. One thread, epoll, nothing clever: the proxies are measured.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMessageBytes = 64;
constexpr size_t kBulkBytes = 256 * 1024;
constexpr int kEventsMax = 256;

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Epoll {
  int fd = epoll_create1(0);
  std::array<epoll_event, kEventsMax> events{};

  void set(int socket, uint32_t wanted, int operation) const {
    epoll_event event{.events = wanted, .data = {.fd = socket}};
    if (epoll_ctl(fd, operation, socket, &event) != 0) die("epoll_ctl");
  }
  int wait(int timeout_ms) { return epoll_wait(fd, events.data(), kEventsMax, timeout_ms); }
};

std::array<char, kBulkBytes> g_bytes{};

enum class Role : uint8_t { kUnknown, kSink, kSource, kEcho };

// False: the connection is over.
bool serve_once(int socket, Role& role, const Epoll& epoll) {
  if (role == Role::kSource) {
    return send(socket, g_bytes.data(), g_bytes.size(), MSG_NOSIGNAL) > 0 || errno == EAGAIN;
  }
  const ssize_t size = recv(socket, g_bytes.data(), g_bytes.size(), 0);
  if (size <= 0) return size < 0 && errno == EAGAIN;
  if (role == Role::kUnknown) {
    role = g_bytes[0] == 'S' ? Role::kSink : g_bytes[0] == 'R' ? Role::kSource : Role::kEcho;
    if (role == Role::kSource) epoll.set(socket, EPOLLOUT, EPOLL_CTL_MOD);
  }
  if (role != Role::kEcho) return true;
  return send(socket, g_bytes.data(), static_cast<size_t>(size), MSG_NOSIGNAL) == size;
}

int serve(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  if (listen(listener, 4096) != 0) die("listen");
  Epoll epoll;
  epoll.set(listener, EPOLLIN, EPOLL_CTL_ADD);
  std::vector<Role> roles;
  while (true) {
    const int count = epoll.wait(-1);
    for (int i = 0; i < count; ++i) {
      const int ready = epoll.events[static_cast<size_t>(i)].data.fd;
      if (ready != listener) {
        if (!serve_once(ready, roles[static_cast<size_t>(ready)], epoll)) close(ready);
        continue;
      }
      const int socket = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
      if (socket < 0) continue;
      setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (roles.size() <= static_cast<size_t>(socket))
        roles.resize(static_cast<size_t>(socket) + 1);
      roles[static_cast<size_t>(socket)] = Role::kUnknown;
      epoll.set(socket, EPOLLIN, EPOLL_CTL_ADD);
    }
  }
}

int connect_to(const sockaddr_in& server, int flags) {
  const int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
  if (fd < 0) die("socket");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const auto* address = reinterpret_cast<const sockaddr*>(&server);
  if (connect(fd, address, sizeof server) != 0 && errno != EINPROGRESS) die("connect");
  return fd;
}

struct Run {
  std::string_view mode;
  sockaddr_in server{};
  Clock::time_point begin, measured_from, end;
  uint64_t bytes = 0, transactions = 0, failures = 0;  // in all
  uint64_t measured_bytes = 0;
  std::vector<float> latencies_us;  // measured
  Epoll epoll;
  std::vector<Clock::time_point> asked;  // by socket
  std::vector<size_t> awaited;

  bool is_bulk() const { return mode == "bulk" || mode == "bulkrev"; }
  void open();
  void ask(int socket);
  void on_bulk(int socket);
  void on_answer(int socket);
  void loop();
  void print();
};

void Run::open() {
  const int socket = connect_to(server, SOCK_NONBLOCK);
  if (asked.size() <= static_cast<size_t>(socket)) {
    asked.resize(static_cast<size_t>(socket) + 1);
    awaited.resize(static_cast<size_t>(socket) + 1);
  }
  asked[static_cast<size_t>(socket)] = Clock::now();
  epoll.set(socket, EPOLLOUT, EPOLL_CTL_ADD);  // connected; see loop()
}

void Run::ask(int socket) {
  std::array<char, kMessageBytes> message{};
  message[0] = 'E';
  awaited[static_cast<size_t>(socket)] = kMessageBytes;
  if (send(socket, message.data(), message.size(), MSG_NOSIGNAL) != kMessageBytes) die("asking");
}

void Run::on_bulk(int socket) {
  const ssize_t size = mode == "bulk" ? send(socket, g_bytes.data(), g_bytes.size(), MSG_NOSIGNAL)
                                      : recv(socket, g_bytes.data(), g_bytes.size(), 0);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) die("bulk");
  bytes += static_cast<uint64_t>(size);
  if (Clock::now() >= measured_from) measured_bytes += static_cast<uint64_t>(size);
}

void Run::on_answer(int socket) {
  const auto index = static_cast<size_t>(socket);
  const ssize_t size = recv(socket, g_bytes.data(), kMessageBytes, 0);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) {
    ++failures;
    if (mode != "crr") die("answer");
    close(socket);
    return open();
  }
  awaited[index] -= std::min(awaited[index], static_cast<size_t>(size));
  if (awaited[index] > 0) return;
  const auto now = Clock::now();
  ++transactions;
  if (now >= measured_from) {
    latencies_us.push_back(std::chrono::duration<float, std::micro>(now - asked[index]).count());
  }
  if (mode == "crr") {
    close(socket);
    return open();
  }
  asked[index] = now;
  ask(socket);
}

void Run::loop() {
  while (Clock::now() < end) {
    const int count = epoll.wait(100);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = epoll.events[static_cast<size_t>(i)];
      const int socket = event.data.fd;
      if (is_bulk()) {
        on_bulk(socket);
      } else if ((event.events & EPOLLOUT) == 0) {
        on_answer(socket);
      } else if ((event.events & EPOLLERR) != 0) {
        ++failures;
        close(socket);
        open();
      } else {
        epoll.set(socket, EPOLLIN, EPOLL_CTL_MOD);
        ask(socket);
      }
    }
  }
}

void Run::print() {
  const double seconds = std::chrono::duration<double>(Clock::now() - measured_from).count();
  std::ranges::sort(latencies_us);
  const auto percentile = [this](double part) {
    if (latencies_us.empty()) return 0.0;
    const auto last = static_cast<double>(latencies_us.size() - 1);
    return static_cast<double>(latencies_us[static_cast<size_t>(part * last)]);
  };
  std::printf(
      "{\"bytes\": %llu, \"transactions\": %llu, \"failures\": %llu, \"gbits\": %.4f, "
      "\"tps\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
      static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(transactions),
      static_cast<unsigned long long>(failures),
      static_cast<double>(measured_bytes) * 8 / 1e9 / seconds,
      static_cast<double>(latencies_us.size()) / seconds, percentile(0.5), percentile(0.99));
}

int run(std::string_view mode, const sockaddr_in& server, int connections, double seconds) {
  Run run;
  run.mode = mode;
  run.server = server;
  run.begin = Clock::now();
  const auto part = [&run](double length) {
    return run.begin +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(length));
  };
  run.measured_from = part(seconds / 5);
  run.end = part(seconds);
  for (int i = 0; i < connections; ++i) {
    if (!run.is_bulk()) {
      run.open();
      continue;
    }
    const int socket = connect_to(server, 0);
    const char role = mode == "bulk" ? 'S' : 'R';
    if (send(socket, &role, 1, MSG_NOSIGNAL) != 1) die("send");
    fcntl(socket, F_SETFL, O_NONBLOCK);
    run.epoll.set(socket, mode == "bulk" ? EPOLLOUT : EPOLLIN, EPOLL_CTL_ADD);
  }
  run.loop();
  run.print();
  return 0;
}

int hold(const sockaddr_in& server, int connections) {
  std::array<char, kMessageBytes> message{'E'};
  for (int i = 0; i < connections; ++i) {
    const int socket = connect_to(server, 0);
    if (send(socket, message.data(), message.size(), MSG_NOSIGNAL) != kMessageBytes) die("send");
    if (recv(socket, message.data(), message.size(), MSG_WAITALL) != kMessageBytes) die("recv");
    message[0] = 'E';
  }
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}

sockaddr_in parse(const std::string& text) {
  const size_t colon = text.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (colon == std::string::npos ||
      inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    std::fprintf(stderr, "bench_load: expected IP:PORT, not %s\n", text.c_str());
    std::exit(2);
  }
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(text.c_str() + colon + 1)));
  return address;
}

}  // namespace

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "serve" && argc == 3) return serve(std::atoi(argv[2]));
  if (what == "run" && argc == 6) {
    return run(argv[2], parse(argv[3]), std::atoi(argv[4]), std::atof(argv[5]));
  }
  if (what == "hold" && argc == 4) return hold(parse(argv[2]), std::atoi(argv[3]));
  std::fputs("usage: bench_load serve PORT | run MODE IP:PORT CONNECTIONS SECONDS | hold ..\n",
             stderr);
  return 2;
}
