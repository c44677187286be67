// Capture of IPv6: the rows of capture_test.cc that could differ by family.
#include "tests/unit/agent/enrol/capture_fixture.h"

#include <arpa/inet.h>
#include <unistd.h>

namespace weft::enrol {
namespace {

using testing::Child;

constexpr const char* kServiceV6 = "[fd96::7]:80";

class CaptureV6Test : public CaptureTest {
 protected:
  void SetUp() override {
    CaptureTest::SetUp();
    if (!IsSkipped() && !listeners_[WEFT_LISTENER_INBOUND_V6]) GTEST_SKIP() << "needs IPv6";
  }
  int inbound() const { return listeners_[WEFT_LISTENER_INBOUND_V6].get(); }
  int outbound() const { return listeners_[WEFT_LISTENER_OUTBOUND_V6].get(); }
  Fd listen_in(int netns_fd, const std::string& address) {
    return *in_netns(netns_fd, [&]() -> Result<Fd> { return testing::listen_on(address); });
  }
};

TEST_F(CaptureV6Test, OutboundComesToTheListenerWithItsOriginalDestination) {
  Child client = client_in_pod(kServiceV6);
  const Fd accepted = testing::accept_from(outbound());
  ASSERT_TRUE(accepted) << client.answer();
  EXPECT_EQ(testing::local_of(accepted.get()), kServiceV6);
  EXPECT_TRUE(testing::peer_of(accepted.get()).starts_with("[fd99::2]:"));
  EXPECT_EQ(testing::read_text(accepted.get()), kServiceV6) << "what the client's getpeername says";
  testing::write_text(accepted.get(), "hello from the proxy");
  EXPECT_EQ(client.answer(), "hello from the proxy");
  EXPECT_EQ(counted("outbound_captured"), 1u);
  EXPECT_EQ(counted("looped_taken"), 1u);
}

TEST_F(CaptureV6Test, BothFamiliesAtOnce) {
  Child of_v4 = client_in_pod("10.96.0.7:80");
  Child of_v6 = client_in_pod(kServiceV6);
  const Fd v4 = testing::accept_from(listeners_[WEFT_LISTENER_OUTBOUND_V4].get());
  const Fd v6 = testing::accept_from(outbound());
  ASSERT_TRUE(v4);
  ASSERT_TRUE(v6);
  EXPECT_EQ(testing::local_of(v4.get()), "10.96.0.7:80");
  EXPECT_EQ(testing::local_of(v6.get()), kServiceV6);
}

// What a row's process does in its namespace, and what it must see.
struct Untouched {
  const char* name;
  const char* cgroup;
  bool in_pod;
  const char* serve;  // in the same namespace, unless `connect` is out of it
  bool serve_in_pod;
  const char* connect;
};

class UntouchedV6Test : public CaptureV6Test, public ::testing::WithParamInterface<Untouched> {};

TEST_P(UntouchedV6Test, ReachesItsServerDirectly) {
  const Untouched& row = GetParam();
  const Fd server = listen_in(row.serve_in_pod ? bed_->pod() : bed_->out(), row.serve);
  Child client = bed_->run(row.cgroup, row.in_pod ? bed_->pod() : bed_->out(), [&row] {
    const Fd fd = testing::tcp_socket(AF_INET6);
    if (const int error = testing::connect_to(fd.get(), row.connect)) {
      return std::string(strerror(error));
    }
    return testing::read_text(fd.get());
  });
  const Fd accepted = testing::accept_from(server.get());
  ASSERT_TRUE(accepted) << client.answer();
  testing::write_text(accepted.get(), "from the server");
  EXPECT_EQ(client.answer(), "from the server");
  EXPECT_FALSE(testing::comes_in_time(outbound(), 0));
  EXPECT_FALSE(testing::comes_in_time(inbound(), 0));
}

INSTANTIATE_TEST_SUITE_P(
    Capture, UntouchedV6Test,
    ::testing::Values(
        Untouched{"Proxy", "proxy", true, "[fd99::1]:80", false, "[fd99::1]:80"},
        Untouched{"Loopback", testing::kPodCgroup, true, "[::1]:80", true, "[::1]:80"},
        Untouched{"AnyAddress", testing::kPodCgroup, true, "[::]:80", true, "[::]:80"},
        Untouched{"OwnAddress", testing::kPodCgroup, true, "[fd99::2]:80", true, "[fd99::2]:80"},
        Untouched{"OwnAddressOfAnyListener", testing::kPodCgroup, true, "[::]:80", true,
                  "[fd99::2]:80"},
        Untouched{"OwnAddressFromAnotherCgroup", "other", true, "[fd99::2]:80", true,
                  "[fd99::2]:80"},
        Untouched{"OutsideThePod", testing::kPodCgroup, false, "[fd99::1]:80", false,
                  "[fd99::1]:80"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(CaptureV6Test, LinkLocalAndMulticastAreNotCaptured) {
  for (const char* address : {"fe80::1", "ff02::1"}) {
    Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [address] {
      const Fd fd(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
      sockaddr_in6 to{};
      to.sin6_family = AF_INET6;
      to.sin6_port = htons(80);
      to.sin6_scope_id = 2;
      inet_pton(AF_INET6, address, &to.sin6_addr);
      const bool connected = connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0;
      return std::string(connected ? "connected" : "not");
    });
    EXPECT_EQ(client.answer(), "not");
  }
  EXPECT_FALSE(testing::comes_in_time(outbound(), 0));
  EXPECT_EQ(counted("outbound_local"), 2u);
}

TEST_F(CaptureV6Test, FromLoopbackToTheOwnAddressIsNotIncoming) {
  const Fd server = listen_in(bed_->pod(), "[fd99::2]:80");
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd = testing::tcp_socket(AF_INET6);
    sockaddr_storage from{};
    const socklen_t length = SocketAddress::parse("[::1]:0")->to_sockaddr(from);
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&from), length) != 0) return std::string("bind");
    if (const int error = testing::connect_to(fd.get(), "[fd99::2]:80")) {
      return std::string(strerror(error));
    }
    return std::string("connected");
  });
  EXPECT_TRUE(testing::accept_from(server.get()));
  EXPECT_EQ(client.answer(), "connected");
}

TEST_F(CaptureV6Test, ProxyReachesAnotherAddressOfThePod) {
  testing::shell("ip -n " + bed_->pod_name() + " addr add fd50::1/128 dev lo nodad");
  const Fd server = listen_in(bed_->pod(), "[fd50::1]:80");
  const Fd dial = testing::tcp_socket_in(bed_->pod(), AF_INET6);
  EXPECT_EQ(testing::connect_to(dial.get(), "[fd50::1]:80"), 0);
  EXPECT_TRUE(testing::accept_from(server.get()));
  EXPECT_FALSE(testing::comes_in_time(outbound(), 0));
}

TEST_F(CaptureV6Test, UnprivilegedSocketBoundToADeviceIsRefused) {
  const Fd server = listen_in(bed_->out(), "[fd99::1]:80");
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd = testing::tcp_socket(AF_INET6);
    if (setuid(65534) != 0) return std::string("setuid");
    if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) != 0)
      return std::string("dev");
    return std::string(strerror(testing::connect_to(fd.get(), "[fd99::1]:80")));
  });
  EXPECT_EQ(client.answer(), strerror(EPERM));
  EXPECT_FALSE(testing::comes_in_time(server.get(), 0));
}

TEST_F(CaptureV6Test, InnerLegHasTheClientsAddressAndPortBesideTheOuterConnection) {
  const Fd app = listen_in(bed_->pod(), "[::]:8080");
  Child client = client_outside(*bed_, "[fd99::2]:8080");
  const Fd outer = testing::accept_from(inbound());
  ASSERT_TRUE(outer) << client.answer();
  EXPECT_EQ(testing::local_of(outer.get()), "[fd99::2]:8080");
  const std::string from = testing::peer_of(outer.get());
  EXPECT_TRUE(from.starts_with("[fd99::1]:"));

  const Fd inner = dial_inner_leg(bed_->pod(), from);
  ASSERT_EQ(testing::connect_to(inner.get(), "[fd99::2]:8080"), 0);
  const Fd app_side = testing::accept_from(app.get());
  ASSERT_TRUE(app_side);
  EXPECT_EQ(testing::peer_of(app_side.get()), from);

  // All four directions, with both connections open in one and the same 4-tuple.
  EXPECT_EQ(testing::read_text(outer.get()), from);
  testing::write_text(inner.get(), "to the app");
  EXPECT_EQ(testing::read_text(app_side.get()), "to the app");
  testing::write_text(app_side.get(), "from the app");
  EXPECT_EQ(testing::read_text(inner.get()), "from the app");
  testing::write_text(outer.get(), "to the client");
  EXPECT_EQ(client.answer(), "to the client");
  EXPECT_EQ(counted("inner_bound"), 1u);
  EXPECT_EQ(counted("inbound_captured"), 1u);
}

TEST_F(CaptureV6Test, ClosedPodWithoutListenersRefusesBothWaysAtOnce) {
  const Fd server = listen_in(bed_->out(), "[fd99::1]:80");
  const Fd app = listen_in(bed_->pod(), "[::]:8080");
  listeners_ = Listeners{};
  EXPECT_EQ(client_in_pod("[fd99::1]:80").answer(), strerror(ECONNREFUSED));
  EXPECT_EQ(client_outside(*bed_, "[fd99::2]:8080").answer(), strerror(ECONNREFUSED));
  EXPECT_FALSE(testing::comes_in_time(server.get(), 0));
  EXPECT_FALSE(testing::comes_in_time(app.get(), 0));
}

TEST_F(CaptureV6Test, OpenPodWithoutListenersPassesBothWays) {
  add(true);
  const Fd server = listen_in(bed_->out(), "[fd99::1]:80");
  const Fd app = listen_in(bed_->pod(), "[::]:8080");
  listeners_ = Listeners{};
  Child outbound = client_in_pod("[fd99::1]:80");
  Child inbound = client_outside(*bed_, "[fd99::2]:8080");
  const Fd at_server = testing::accept_from(server.get());
  const Fd at_app = testing::accept_from(app.get());
  ASSERT_TRUE(at_server);
  ASSERT_TRUE(at_app);
  testing::write_text(at_server.get(), "direct");
  testing::write_text(at_app.get(), "direct");
  EXPECT_EQ(outbound.answer(), "direct");
  EXPECT_EQ(inbound.answer(), "direct");
}

// A pod of one family has no way out by the other: not even where the kernel would find one.
TEST_F(CaptureV6Test, FamilyWithoutAPodAddressIsUnreachableOutAndCapturedIn) {
  add(false, false, {.v4 = kPod.v4, .v6 = {}});
  const Fd server = listen_in(bed_->out(), "[fd99::1]:80");
  EXPECT_EQ(client_in_pod("[fd99::1]:80").answer(), strerror(ENETUNREACH));
  EXPECT_FALSE(testing::comes_in_time(server.get(), 0));
  EXPECT_EQ(counted("outbound_no_address"), 1u);
  const Child client = client_outside(*bed_, "[fd99::2]:8080");
  EXPECT_TRUE(testing::accept_from(inbound()));

  add(false, false, {.v4 = {}, .v6 = kPod.v6});
  EXPECT_EQ(client_in_pod("10.99.0.1:80").answer(), strerror(ENETUNREACH));
  const Child captured = client_in_pod(kServiceV6);
  EXPECT_TRUE(testing::accept_from(outbound()));
}

TEST_F(CaptureV6Test, LoopRoutesAreAddedOnceAndLeaveNothing) {
  ASSERT_TRUE(in_netns(bed_->pod(), [] { return add_loop_routes(kPod); }));
  const std::string pod = "ip -6 -n " + bed_->pod_name();
  EXPECT_EQ(testing::shell_output(pod + " rule | grep -c 'fwmark.*lookup 100'"), "2\n");
  EXPECT_EQ(testing::shell_output(pod + " route show table 100 | grep -c 'local default dev lo'"),
            "1\n");
  ASSERT_TRUE(in_netns(bed_->pod(), remove_loop_routes));
  EXPECT_EQ(testing::shell_output(pod + " rule | grep fwmark"), "");
  EXPECT_EQ(testing::shell_output(pod + " route show table 100 2>/dev/null"), "");
}

// Runtimes switch IPv6 off in pods that have none.
TEST_F(CaptureV6Test, PodWithIpv6SwitchedOffIsCapturedByIpv4) {
  ASSERT_TRUE(in_netns(bed_->pod(), remove_loop_routes));
  testing::shell("ip netns exec " + bed_->pod_name() +
                 " sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6'");
  listeners_ = Listeners{};
  const auto listeners = in_netns(bed_->pod(), []() -> Result<Listeners> {
    TRY(add_loop_routes({.v4 = kPod.v4, .v6 = {}}));
    return open_listeners("eth0");
  });
  ASSERT_TRUE(listeners) << listeners.error().to_string();
  const auto refused = in_netns(bed_->pod(), [] { return add_loop_routes(kPod); });
  EXPECT_FALSE(refused) << "a pod that has an IPv6 address needs the route";
  EXPECT_TRUE(in_netns(bed_->pod(), remove_loop_routes));
}

}  // namespace
}  // namespace weft::enrol
