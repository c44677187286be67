#include "ztunnel/runtime/socket.h"

#include "tests/unit/ztunnel/runtime/run.h"
#include "ztunnel/base/log.h"
#include "ztunnel/runtime/sync.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <thread>

namespace weft::runtime {
namespace {

using namespace std::chrono_literals;

class SocketTest : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    std::string pattern = ::testing::TempDir() + "weft-socket-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override {
    std::filesystem::remove_all(folder_);
    BackendTest::TearDown();
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string folder_;
};
BOTH_BACKENDS(SocketTest);

Task<void> expect_dial_error(Loop& loop, SocketAddress to, DialOptions options, Code code) {
  const auto stream = co_await dial(loop, to, std::move(options));
  EXPECT_FALSE(stream.has_value());
  if (stream) co_return;
  EXPECT_EQ(stream.error().code, code) << stream.error().to_string();
  EXPECT_NE(stream.error().to_string().find(to.to_string()), std::string::npos);
}

TEST_P(SocketTest, DialIsRefusedWhereNobodyListens) {
  SocketAddress nobody;
  nobody = listen_on_loopback().address;  // and is closed again
  run(loop(), expect_dial_error(loop(), nobody, DialOptions{}, Code::kRefused));
}

Task<void> dial_until_timeout(Loop& loop, SocketAddress to) {
  std::vector<std::unique_ptr<SocketStream>> fillers;
  DialOptions options;
  options.timeout = 30ms;
  for (int i = 0; i < 20; ++i) {
    auto stream = co_await dial(loop, to, options);
    if (!stream) {
      EXPECT_EQ(stream.error().code, Code::kTimeout) << stream.error().to_string();
      co_return;
    }
    fillers.push_back(std::move(*stream));
  }
  ADD_FAILURE() << "the backlog does not fill";
}

TEST_P(SocketTest, DialGivesUpAfterItsTimeout) {
  const Listening deaf = listen_on_loopback(0);
  run(loop(), dial_until_timeout(loop(), deaf.address));
}

TEST_P(SocketTest, DialFromAnAddressThatIsNotOursIsAnError) {
  const Listening listening = listen_on_loopback();
  DialOptions options;
  options.source = SocketAddress{IpAddress::v4(0x08080808), 0};
  const auto body = [](Loop& loop, SocketAddress to, DialOptions with) -> Task<void> {
    const auto stream = co_await dial(loop, to, std::move(with));
    EXPECT_FALSE(stream.has_value());
    EXPECT_NE(stream.error().to_string().find("8.8.8.8:0"), std::string::npos);
  };
  run(loop(), body(loop(), listening.address, options));
}

Task<void> dial_from(Loop& loop, int listener, SocketAddress to) {
  DialOptions options;
  options.source = SocketAddress{IpAddress::v4(0x7f000002), 0};
  const auto stream = co_await dial(loop, to, options);
  EXPECT_TRUE(stream.has_value());
  const Fd accepted(co_await loop.accept(listener));
  EXPECT_EQ(peer_address(accepted.get())->ip.to_string(), "127.0.0.2");
  EXPECT_EQ(local_address(accepted.get()), to);
  EXPECT_EQ(peer_address((*stream)->fd()), to);
  EXPECT_EQ(fcntl(accepted.get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_EQ(fcntl(accepted.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  int no_delay = 0;
  socklen_t length = sizeof no_delay;
  EXPECT_EQ(getsockopt((*stream)->fd(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &length), 0);
  EXPECT_NE(no_delay, 0);
}

TEST_P(SocketTest, DialsFromTheAddressAskedFor) {
  const Listening listening = listen_on_loopback();
  run(loop(), dial_from(loop(), listening.fd.get(), listening.address));
}

Task<void> dial_v6(Loop& loop) {
  const Result<Fd> listener = listen_in(-1, *SocketAddress::parse("[::1]:0"), 1);
  if (!listener) co_return;  // a kernel without IPv6
  const SocketAddress to = *local_address(listener->get());
  EXPECT_FALSE(to.ip.is_v4());
  const auto stream = co_await dial(loop, to, DialOptions{});
  EXPECT_TRUE(stream.has_value());
}

std::string congestion_control(int fd) {
  std::array<char, 16> name{};
  socklen_t size = name.size();
  EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size), 0);
  return name.data();
}

Task<void> dial_over_loopback(Loop& loop) {
  const Listening listener = listen_on_loopback();
  send_over_loopback(listener.fd.get());
  for (const bool over_loopback : {false, true}) {
    DialOptions options;
    options.over_loopback = over_loopback;
    const auto stream = co_await dial(loop, listener.address, options);
    EXPECT_TRUE(stream.has_value());
    const Fd accepted(co_await loop.accept(listener.fd.get()));
    EXPECT_EQ(congestion_control(accepted.get()), "reno") << "a listener's connections inherit it";
    const Fd plain = tcp_socket_in(-1, listener.address.ip).value();
    EXPECT_EQ(congestion_control((*stream)->fd()),
              over_loopback ? "reno" : congestion_control(plain.get()));
  }
}

TEST_P(SocketTest, SetsNoTimersForWhatStaysOnTheMachine) {
  run(loop(), dial_over_loopback(loop()));
}

TEST_P(SocketTest, DialsIpv6) { run(loop(), dial_v6(loop())); }

TEST_P(SocketTest, AddressesOfAUnixSocketAreAnError) {
  const auto [left, right] = unix_pair();
  EXPECT_EQ(local_address(left.get()).error().code, Code::kInvalid);
  EXPECT_EQ(peer_address(-1).error().to_string(),
            "reading a socket's peer address: Bad file descriptor");
}

Task<void> talk_unix(Loop& loop, int listener, std::string path) {
  const auto stream = co_await dial_unix(loop, path);
  EXPECT_TRUE(stream.has_value());
  SocketStream accepted(loop, Fd(co_await loop.accept(listener)));
  const auto sent = co_await (*stream)->write(loop.buffers().copy_of("hello"));
  EXPECT_TRUE(sent.has_value());
  const auto bytes = co_await accepted.read();
  EXPECT_EQ(bytes->text(), "hello");
}

TEST_P(SocketTest, ListensOnAPathWithTheModeAskedFor) {
  const Result<Fd> listener = listen_unix(path("socket"), 0600);
  ASSERT_TRUE(listener.has_value());
  struct stat status{};
  ASSERT_EQ(stat(path("socket").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  run(loop(), talk_unix(loop(), listener->get(), path("socket")));
}

TEST_P(SocketTest, ReplacesAStaleSocketButNotALiveOneNorAFile) {
  {
    ASSERT_TRUE(listen_unix(path("socket"), 0600).has_value());
  }  // dies, its file stays
  const Result<Fd> listener = listen_unix(path("socket"), 0600);
  ASSERT_TRUE(listener.has_value()) << listener.error().to_string();
  const Result<Fd> second = listen_unix(path("socket"), 0600);
  EXPECT_EQ(second.error().code, Code::kUnavailable);
  const Fd probe(accept(listener->get(), nullptr, nullptr));  // how the second found us alive
  EXPECT_TRUE(static_cast<bool>(probe));
  run(loop(), talk_unix(loop(), listener->get(), path("socket")));

  std::ofstream(path("file")) << "precious";
  EXPECT_EQ(listen_unix(path("file"), 0600).error().code, Code::kInvalid);
  EXPECT_EQ(std::filesystem::file_size(path("file")), 8U);
}

Task<void> expect_unix_error(Loop& loop, std::string path, Code code) {
  const auto stream = co_await dial_unix(loop, path);
  EXPECT_FALSE(stream.has_value());
  if (!stream) EXPECT_EQ(stream.error().code, code) << stream.error().to_string();
}

TEST_P(SocketTest, DialUnixNamesWhatIsWrong) {
  run(loop(), expect_unix_error(loop(), path("absent"), Code::kNotFound));
  run(loop(), expect_unix_error(loop(), "", Code::kInvalid));
  run(loop(), expect_unix_error(loop(), "/" + std::string(200, 'x'), Code::kInvalid));
  {
    ASSERT_TRUE(listen_unix(path("stale"), 0600).has_value());
  }
  run(loop(), expect_unix_error(loop(), path("stale"), Code::kRefused));
}

// Accepting

struct Counter {
  int accepted = 0;
  Event changed;
};

Task<void> count(Counter& counter, Fd connection) {
  ++counter.accepted;
  counter.changed.wake();
  connection.reset();
  co_return;
}

Task<void> accept_some(Loop& loop, const Listening& listening) {
  Counter counter;
  Acceptor acceptor(loop, listening.fd.get(),
                    [&](Fd connection) { return count(counter, std::move(connection)); });
  TaskScope scope;
  scope.spawn(acceptor.run());
  for (int i = 0; i < 50; ++i) {
    const auto stream = co_await dial(loop, listening.address, DialOptions{});
    EXPECT_TRUE(stream.has_value());
  }
  while (counter.accepted < 50) co_await counter.changed.wait();
  acceptor.stop();
  acceptor.stop();
  co_await scope.join();
}

TEST_P(SocketTest, AcceptorHandsOverEveryConnectionUntilItIsStopped) {
  const Listening listening = listen_on_loopback();
  run(loop(), accept_some(loop(), listening));
}

// Each worker's first connection blocks it until the other worker has one as well: a backend that
// takes more than one connection at a time would hang here (and with it one worker would take all).
class Rendezvous {
 public:
  bool meet() {
    std::unique_lock lock(mutex_);
    ++present_;
    changed_.notify_all();
    return changed_.wait_for(lock, 10s, [&] { return present_ >= 2; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int present_ = 0;
};

struct Worker {
  std::unique_ptr<Loop> loop;
  Rendezvous& rendezvous;
  std::function<void()> when_done;
  bool met = false;
  std::unique_ptr<Acceptor> acceptor;
  std::jthread thread;
};

Task<void> meet_once(Worker& worker, Fd connection) {
  if (!worker.met) {
    worker.met = true;
    EXPECT_TRUE(worker.rendezvous.meet());
    worker.acceptor->stop();
    worker.when_done();
  }
  connection.reset();
  co_return;
}

Task<void> dial_twice(Loop& loop, SocketAddress to, const int& done, Event& changed) {
  const auto first = co_await dial(loop, to, DialOptions{});
  const auto second = co_await dial(loop, to, DialOptions{});
  EXPECT_TRUE(first.has_value() && second.has_value());
  while (done < 2) co_await changed.wait();
}

TEST_P(SocketTest, TwoLoopsShareOneListener) {
  const Listening listening = listen_on_loopback();
  Rendezvous rendezvous;
  int done = 0;
  Event changed;
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 2; ++i) {
    auto made = Loop::create(GetParam());
    ASSERT_TRUE(made.has_value());
    auto worker = std::make_unique<Worker>(Worker{.loop = std::move(*made),
                                                  .rendezvous = rendezvous,
                                                  .when_done = {},
                                                  .met = false,
                                                  .acceptor = nullptr,
                                                  .thread = {}});
    Worker& self = *worker;
    self.when_done = [&] {
      loop().post([&] {
        ++done;
        changed.wake();
      });
    };
    self.acceptor = std::make_unique<Acceptor>(
        *self.loop, listening.fd.get(),
        [&self](Fd connection) { return meet_once(self, std::move(connection)); });
    self.thread = std::jthread([&self] {
      self.loop->spawn(self.acceptor->run());
      self.loop->run();
    });
    workers.push_back(std::move(worker));
  }
  run(loop(), dial_twice(loop(), listening.address, done, changed));
  for (const auto& worker : workers) worker->loop->stop();
  for (const auto& worker : workers) worker->thread.join();
}

// A loop on a thread of its own that accepts, and tells each client its number.
class Teller {
 public:
  Teller(Backend backend, int listener, uint8_t number)
      : loop_(*Loop::create(backend)), acceptor_(*loop_, listener, [this, number](Fd connection) {
          return tell(*loop_, std::move(connection), number);
        }) {
    loop_->spawn(acceptor_.run());
    thread_ = std::jthread([this] { loop_->run(); });
  }
  ~Teller() {
    loop_->post([this] {
      acceptor_.stop();
      loop_->stop();
    });
    thread_.join();
  }

 private:
  static Task<void> tell(Loop& loop, Fd connection, uint8_t number) {
    SocketStream client(loop, std::move(connection));
    const std::string text(1, static_cast<char>(number));
    EXPECT_TRUE(co_await client.write(loop.buffers().copy_of(text)));
  }

  std::unique_ptr<Loop> loop_;
  Acceptor acceptor_;
  std::jthread thread_;
};

// Until both have answered 30 times. On a busy machine one of the threads may sleep for long.
Task<void> ask_one_after_the_other(Loop& loop, SocketAddress to, std::array<int, 2>& served) {
  for (int i = 0; i < 20'000 && std::ranges::min(served) < 30; ++i) {
    const auto client = co_await dial(loop, to, DialOptions{});
    EXPECT_TRUE(client.has_value());
    if (!client) co_return;
    const auto number = co_await (*client)->read();
    EXPECT_TRUE(number && number->size() == 1);
    if (number && !number->empty()) ++served[number->data()[0]];
  }
}

// Few long connections must not all end up with one loop, so idle ones take turns: where they do
// not, one of them gets everything.
TEST_P(SocketTest, IdleLoopsTakeTurnsAtAListener) {
  const Listening listening = listen_on_loopback();
  std::array<int, 2> served{};
  {
    const Teller first(GetParam(), listening.fd.get(), 0);
    const Teller second(GetParam(), listening.fd.get(), 1);
    run(loop(), ask_one_after_the_other(loop(), listening.address, served));
  }
  EXPECT_GE(std::min(served[0], served[1]), 30) << served[0] << " and " << served[1];
}

// Leaves the process without a free descriptor while it lives.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const Fd lowest(open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(lowest.get());
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

class LogCapture {
 public:
  LogCapture() {
    log::set_sink([this](std::string_view line) { text += line; });
  }
  ~LogCapture() { log::set_sink(nullptr); }
  std::string text;
};

Task<void> accept_without_descriptors(Loop& loop, const Listening& listening, bool stop_early) {
  const LogCapture captured;
  Counter counter;
  Acceptor acceptor(loop, listening.fd.get(),
                    [&](Fd connection) { return count(counter, std::move(connection)); });
  const auto stream = co_await dial(loop, listening.address, DialOptions{});
  EXPECT_TRUE(stream.has_value());
  TaskScope scope;
  {
    const NoDescriptors none;
    scope.spawn(acceptor.run());
    while (captured.text.empty()) co_await loop.sleep(1ms);
    EXPECT_EQ(counter.accepted, 0);
    EXPECT_NE(captured.text.find("Too many open files"), std::string::npos) << captured.text;
    if (stop_early) {
      acceptor.stop();
      co_await scope.join();
      co_return;
    }
  }
  while (counter.accepted == 0) co_await counter.changed.wait();
  acceptor.stop();
  co_await scope.join();
}

TEST_P(SocketTest, AcceptingSurvivesALackOfDescriptors) {
  const Listening listening = listen_on_loopback();
  run(loop(), accept_without_descriptors(loop(), listening, false));
}

TEST_P(SocketTest, AcceptorStopsWhileItWaitsForDescriptors) {
  const Listening listening = listen_on_loopback();
  run(loop(), accept_without_descriptors(loop(), listening, true));
}

Task<void> accept_on_broken(Loop& loop) {
  const LogCapture captured;
  const Result<Fd> no_listener = tcp_socket_in(-1, IpAddress::v4(0));
  Counter counter;
  Acceptor acceptor(loop, no_listener->get(),
                    [&](Fd connection) { return count(counter, std::move(connection)); });
  co_await acceptor.run();
  EXPECT_NE(captured.text.find("the listener is broken"), std::string::npos);
}

TEST_P(SocketTest, AcceptingEndsWhereTheListenerIsNone) { run(loop(), accept_on_broken(loop())); }

}  // namespace
}  // namespace weft::runtime
