// Capture of IPv6: what IPv4 does not have.
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
