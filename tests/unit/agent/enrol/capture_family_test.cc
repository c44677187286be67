// The rows of capture that are the same for both families of addresses.
#include "tests/unit/agent/enrol/capture_fixture.h"

#include <unistd.h>

namespace weft::enrol {
namespace {

using testing::Child;

struct Family {
  const char* name;
  int number;
  std::string service;   // routed to where nothing is
  std::string pod;       // the pod's address
  std::string outside;   // of the machine outside it
  std::string other;     // another one of the pod
  std::string other_on;  // how it is given to lo
  std::string any;
  std::string loopback;
  weft_listener inbound;
  weft_listener outbound;
};

const Family kV4{"V4",
                 AF_INET,
                 kService,
                 "10.99.0.2",
                 "10.99.0.1",
                 "10.50.0.1",
                 "10.50.0.1/32",
                 "0.0.0.0",
                 "127.0.0.1",
                 WEFT_LISTENER_INBOUND_V4,
                 WEFT_LISTENER_OUTBOUND_V4};
const Family kV6{"V6",
                 AF_INET6,
                 "[fd96::7]:80",
                 "[fd99::2]",
                 "[fd99::1]",
                 "[fd50::1]",
                 "fd50::1/128 nodad",
                 "[::]",
                 "[::1]",
                 WEFT_LISTENER_INBOUND_V6,
                 WEFT_LISTENER_OUTBOUND_V6};

class EveryFamily : public CaptureTest, public ::testing::WithParamInterface<Family> {
 protected:
  void SetUp() override {
    CaptureTest::SetUp();
    if (!IsSkipped() && !listeners_[family().inbound]) GTEST_SKIP() << "needs " << family().name;
  }
  static const Family& family() { return GetParam(); }
  int inbound() const { return listeners_[family().inbound].get(); }
  int outbound() const { return listeners_[family().outbound].get(); }
  static Fd listen_in(int netns_fd, const std::string& address) {
    return *in_netns(netns_fd, [&]() -> Result<Fd> { return testing::listen_on(address); });
  }
};

TEST_P(EveryFamily, OutboundComesToTheListenerWithItsOriginalDestination) {
  const std::string& service = family().service;
  Child client = client_in_pod(service);
  const Fd accepted = testing::accept_from(outbound());
  ASSERT_TRUE(accepted) << client.answer();
  EXPECT_EQ(testing::local_of(accepted.get()), service);
  EXPECT_TRUE(testing::peer_of(accepted.get()).starts_with(family().pod + ":"));
  EXPECT_EQ(testing::read_text(accepted.get()), service) << "what the client's getpeername says";
  testing::write_text(accepted.get(), "hello from the proxy");
  EXPECT_EQ(client.answer(), "hello from the proxy");
  EXPECT_EQ(counted("outbound_captured"), 1u);
  EXPECT_EQ(counted("looped_taken"), 1u);
}

TEST_P(EveryFamily, FromLoopbackToTheOwnAddressIsNotIncoming) {
  const std::string own = family().pod + ":80";
  const Fd server = listen_in(bed_->pod(), own);
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [own] {
    const Fd fd = testing::tcp_socket(family().number);
    sockaddr_storage from{};
    const socklen_t length = SocketAddress::parse(family().loopback + ":0")->to_sockaddr(from);
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&from), length) != 0) return std::string("bind");
    if (const int error = testing::connect_to(fd.get(), own)) return std::string(strerror(error));
    return std::string("connected");
  });
  EXPECT_TRUE(testing::accept_from(server.get()));
  EXPECT_EQ(client.answer(), "connected");
}

// Another address of the pod that is not its pod IP: the pod's process is captured, and the proxy's
// own connection to it must not come back to the proxy.
TEST_P(EveryFamily, ProxyReachesAnotherAddressOfThePod) {
  testing::shell("ip -n " + bed_->pod_name() + " addr add " + family().other_on + " dev lo");
  const Fd server = listen_in(bed_->pod(), family().other + ":80");
  const Fd dial = testing::tcp_socket_in(bed_->pod(), family().number);
  EXPECT_EQ(testing::connect_to(dial.get(), family().other + ":80"), 0);
  EXPECT_TRUE(testing::accept_from(server.get()));
  EXPECT_FALSE(testing::comes_in_time(outbound(), 0));
}

TEST_P(EveryFamily, UnprivilegedSocketBoundToADeviceIsRefused) {
  const std::string outside = family().outside + ":80";
  const Fd server = listen_in(bed_->out(), outside);
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [outside] {
    const Fd fd = testing::tcp_socket(family().number);
    if (setuid(65534) != 0) return std::string("setuid");
    if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) != 0)
      return std::string("dev");
    return std::string(strerror(testing::connect_to(fd.get(), outside)));
  });
  EXPECT_EQ(client.answer(), strerror(EPERM));
  EXPECT_FALSE(testing::comes_in_time(server.get(), 0));
  EXPECT_EQ(counted("outbound_device"), 1u);
}

TEST_P(EveryFamily, InnerLegHasTheClientsAddressAndPortBesideTheOuterConnection) {
  const std::string app_address = family().pod + ":8080";
  const Fd app = listen_in(bed_->pod(), family().any + ":8080");
  Child client = client_outside(*bed_, app_address);
  const Fd outer = testing::accept_from(inbound());
  ASSERT_TRUE(outer) << client.answer();
  EXPECT_EQ(testing::local_of(outer.get()), app_address);
  const std::string from = testing::peer_of(outer.get());
  EXPECT_TRUE(from.starts_with(family().outside + ":"));

  const Fd inner = dial_inner_leg(bed_->pod(), from);
  ASSERT_EQ(testing::connect_to(inner.get(), app_address), 0);
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

TEST_P(EveryFamily, ClosedPodWithoutListenersRefusesBothWaysAtOnce) {
  const Fd server = listen_in(bed_->out(), family().outside + ":80");
  const Fd app = listen_in(bed_->pod(), family().any + ":8080");
  listeners_ = Listeners{};  // the slot empties itself with the last descriptor
  EXPECT_EQ(client_in_pod(family().outside + ":80").answer(), strerror(ECONNREFUSED));
  EXPECT_EQ(client_outside(*bed_, family().pod + ":8080").answer(), strerror(ECONNREFUSED));
  EXPECT_FALSE(testing::comes_in_time(server.get(), 0));
  EXPECT_FALSE(testing::comes_in_time(app.get(), 0));
  EXPECT_EQ(counted("outbound_refused"), 1u);
  EXPECT_EQ(counted("inbound_refused"), 1u);
}

TEST_P(EveryFamily, OpenPodWithoutListenersPassesBothWays) {
  add(true);
  const Fd server = listen_in(bed_->out(), family().outside + ":80");
  const Fd app = listen_in(bed_->pod(), family().any + ":8080");
  listeners_ = Listeners{};
  Child outbound = client_in_pod(family().outside + ":80");
  Child inbound = client_outside(*bed_, family().pod + ":8080");
  const Fd at_server = testing::accept_from(server.get());
  const Fd at_app = testing::accept_from(app.get());
  ASSERT_TRUE(at_server);
  ASSERT_TRUE(at_app);
  testing::write_text(at_server.get(), "direct");
  testing::write_text(at_app.get(), "direct");
  EXPECT_EQ(outbound.answer(), "direct");
  EXPECT_EQ(inbound.answer(), "direct");
}

INSTANTIATE_TEST_SUITE_P(, EveryFamily, ::testing::Values(kV4, kV6),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace weft::enrol
