#pragma once

#include "tests/support/backends.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

// What the runtime's suites share.

namespace weft::runtime {

constexpr std::chrono::seconds kHangLimit{60};  // a test that takes this long hangs

inline Task<void> stop_after(Loop& loop, Task<void> task) {
  co_await std::move(task);
  loop.stop();
}

// Runs the loop until the task has ended.
inline void run(Loop& loop, Task<void> task) {
  const Deadline hang(loop, kHangLimit, [] {
    std::fprintf(stderr, "the test hangs\n");
    std::abort();
  });
  loop.spawn(stop_after(loop, std::move(task)));
  loop.run();
}

// Lets everything that is ready now go on.
inline Task<void> settle(Loop& loop, int turns = 50) {
  for (int i = 0; i < turns; ++i) co_await loop.sleep(std::chrono::milliseconds(0));
}

// A test that runs on both backends.
class BackendTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<Loop>> made = Loop::create(GetParam());
    if (!made) {
      ASSERT_EQ(made.error().code, Code::kUnsupported);
      GTEST_SKIP() << made.error().to_string();
    }
    owned_ = std::move(*made);
  }
  void TearDown() override {
    if (owned_) EXPECT_EQ(loop().buffers().in_use(), 0U);
  }
  Loop& loop() { return *owned_; }

 private:
  std::unique_ptr<Loop> owned_;
};

inline SocketAddress any_loopback_port() { return {IpAddress::v4(0x7f000001), 0}; }

struct Listening {
  Fd fd;
  SocketAddress address;
};

inline Listening listen_on_loopback(int backlog = 128) {
  Result<Fd> fd = listen_in(-1, any_loopback_port(), backlog);
  EXPECT_TRUE(fd.has_value());
  const Result<SocketAddress> address = local_address(fd->get());
  EXPECT_TRUE(address.has_value());
  return {std::move(*fd), *address};
}

inline std::pair<Fd, Fd> unix_pair() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

}  // namespace weft::runtime
