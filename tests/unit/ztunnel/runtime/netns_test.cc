// The setns bracket, in real network namespaces.

#include "tests/unit/ztunnel/runtime/run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cstring>
#include <string>
#include <thread>

namespace weft::runtime {
namespace {

Fd open_own_netns() { return Fd(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)); }

ino_t inode_of(int fd) {
  struct stat status{};
  EXPECT_EQ(fstat(fd, &status), 0);
  return status.st_ino;
}

// A fresh namespace with its loopback up: made by a thread that then ends.
Fd make_netns(int& error) {
  Fd made;
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      error = errno;
      return;
    }
    made = open_own_netns();
    const Fd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    if (ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) error = errno;
  }).join();
  return made;
}

class NetnsTest : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (IsSkipped()) return;
    int error = 0;
    netns_ = make_netns(error);
    if (error != 0) GTEST_SKIP() << "needs CAP_SYS_ADMIN to make a network namespace";
  }
  Fd netns_;
};
BOTH_BACKENDS(NetnsTest);

// The namespace that a socket belongs to.
ino_t netns_of_socket(int fd) {
  constexpr unsigned long kSiocGetSocketNetns = 0x894C;  // SIOCGSKNS
  const Fd netns(ioctl(fd, kSiocGetSocketNetns));
  EXPECT_TRUE(static_cast<bool>(netns));
  return inode_of(netns.get());
}

TEST_P(NetnsTest, SocketLandsThereAndTheThreadIsBack) {
  const ino_t before = inode_of(open_own_netns().get());
  const Result<Fd> there = tcp_socket_in(netns_.get(), IpAddress::v4(0));
  ASSERT_TRUE(there.has_value());
  EXPECT_EQ(netns_of_socket(there->get()), inode_of(netns_.get()));
  EXPECT_EQ(inode_of(open_own_netns().get()), before);
  const Result<Fd> here = tcp_socket_in(-1, IpAddress::v4(0));
  EXPECT_EQ(netns_of_socket(here->get()), before);
}

TEST_P(NetnsTest, WhatIsNoNamespaceIsAnErrorAndTheThreadStays) {
  const ino_t before = inode_of(open_own_netns().get());
  const Fd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Result<Fd> made = tcp_socket_in(file.get(), IpAddress::v4(0));
  EXPECT_EQ(made.error().code, Code::kInvalid) << made.error().to_string();
  EXPECT_EQ(inode_of(open_own_netns().get()), before);
}

Task<void> dial_there(Loop& loop, int netns, int listener, SocketAddress to) {
  DialOptions options;
  options.netns_fd = netns;
  options.mark = 0x539;
  options.bind_to_device = "lo";
  options.transparent = true;
  options.source = SocketAddress{IpAddress::v4(0x0a010203), 4321};  // an address nobody here has
  options.timeout = std::chrono::milliseconds(20);
  const auto stream = co_await dial(loop, to, options);
  EXPECT_FALSE(stream.has_value());  // the answers find no way back without a route
  options.source.reset();
  options.timeout = kHangLimit;
  const auto plain = co_await dial(loop, to, options);
  EXPECT_TRUE(plain.has_value()) << plain.error().to_string();
  const Fd accepted(co_await loop.accept(listener));
  EXPECT_EQ(netns_of_socket(accepted.get()), inode_of(netns));
  uint32_t mark = 0;
  socklen_t length = sizeof mark;
  EXPECT_EQ(getsockopt((*plain)->fd(), SOL_SOCKET, SO_MARK, &mark, &length), 0);
  EXPECT_EQ(mark, 0x539U);
  // The same address here is somebody else's.
  const auto here = co_await dial(loop, to, DialOptions{});
  EXPECT_FALSE(here.has_value());
}

TEST_P(NetnsTest, ListensAndDialsThere) {
  const Result<Fd> listener = listen_in(netns_.get(), any_loopback_port(), 16);
  ASSERT_TRUE(listener.has_value());
  const SocketAddress address = *local_address(listener->get());
  run(loop(), dial_there(loop(), netns_.get(), listener->get(), address));
}

TEST_P(NetnsTest, UnknownDeviceIsNamed) {
  const auto body = [](Loop& loop, int netns) -> Task<void> {
    DialOptions options;
    options.netns_fd = netns;
    options.bind_to_device = "weft-no-such";
    const auto stream = co_await dial(loop, any_loopback_port(), options);
    EXPECT_EQ(stream.error().code, Code::kNotFound);
    EXPECT_NE(stream.error().to_string().find("weft-no-such"), std::string::npos);
  };
  run(loop(), body(loop(), netns_.get()));
}

}  // namespace
}  // namespace weft::runtime
