#include "tests/unit/agent/enrol/capture_fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace weft::enrol {
namespace {

using testing::Child;

TEST_F(CaptureTest, V4MappedSocketIsCapturedTheSame) {
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd(socket(AF_INET6, SOCK_STREAM, 0));
    sockaddr_in6 to{};
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(80);
    inet_pton(AF_INET6, "::ffff:10.96.0.7", &to.sin6_addr);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0) {
      return std::string(strerror(errno));
    }
    return testing::peer_of(fd.get());
  });
  const Fd accepted = testing::accept_from(outbound());
  ASSERT_TRUE(accepted) << client.answer();
  EXPECT_EQ(testing::local_of(accepted.get()), kService);
  EXPECT_EQ(client.answer(), kService);
}

TEST_F(CaptureTest, ConnectingByTheFirstDatagramOfFastOpenIsCaptured) {
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd = testing::tcp_socket();
    sockaddr_storage to{};
    const socklen_t length = SocketAddress::parse(kService)->to_sockaddr(to);
    if (sendto(fd.get(), "hi", 2, MSG_FASTOPEN, reinterpret_cast<sockaddr*>(&to), length) != 2) {
      return std::string(strerror(errno));
    }
    return testing::read_text(fd.get());
  });
  const Fd accepted = testing::accept_from(outbound());
  ASSERT_TRUE(accepted) << client.answer();
  EXPECT_EQ(testing::read_text(accepted.get()), "hi");
  testing::write_text(accepted.get(), "captured");
  EXPECT_EQ(client.answer(), "captured");
}

TEST_F(CaptureTest, MultipathTcpIsCaptured) {
  if (Fd(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)).get() < 0) {
    GTEST_SKIP() << "needs MPTCP in the kernel";
  }
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd(socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP));
    if (const int error = testing::connect_to(fd.get(), kService)) {
      return std::string(strerror(error));
    }
    return testing::peer_of(fd.get());
  });
  EXPECT_TRUE(testing::accept_from(outbound()));
  EXPECT_EQ(client.answer(), kService);
}

// What a row's process does in its namespace, and what it must see.
struct Untouched {
  const char* name;
  const char* cgroup;
  bool in_pod;        // else in the namespace outside
  const char* serve;  // where a server listens, in the namespace of `serve_in_pod`
  bool serve_in_pod;
  const char* connect;
};

class UntouchedTest : public CaptureTest, public ::testing::WithParamInterface<Untouched> {};

TEST_P(UntouchedTest, ReachesItsServerDirectly) {
  const Untouched& row = GetParam();
  const int server_netns = row.serve_in_pod ? bed_->pod() : bed_->out();
  const Fd server =
      *in_netns(server_netns, [&]() -> Result<Fd> { return testing::listen_on(row.serve); });
  Child client = bed_->run(row.cgroup, row.in_pod ? bed_->pod() : bed_->out(), [&row] {
    const Fd fd = testing::tcp_socket();
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
    Capture, UntouchedTest,
    ::testing::Values(
        Untouched{"Proxy", "proxy", true, "10.99.0.1:80", false, "10.99.0.1:80"},
        Untouched{"Loopback", testing::kPodCgroup, true, "127.0.0.1:80", true, "127.0.0.1:80"},
        Untouched{"OtherLoopback", testing::kPodCgroup, true, "0.0.0.0:80", true, "127.9.9.9:80"},
        Untouched{"AnyAddress", testing::kPodCgroup, true, "0.0.0.0:80", true, "0.0.0.0:80"},
        Untouched{"OwnAddress", testing::kPodCgroup, true, "10.99.0.2:80", true, "10.99.0.2:80"},
        Untouched{"OwnAddressFromAnotherCgroup", "other", true, "10.99.0.2:80", true,
                  "10.99.0.2:80"},
        Untouched{"OutsideThePod", testing::kPodCgroup, false, "10.99.0.1:80", false,
                  "10.99.0.1:80"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(CaptureTest, PrivilegedSocketBoundToADeviceIsUnboundAndCaptured) {
  const Fd server =
      *in_netns(bed_->out(), []() -> Result<Fd> { return testing::listen_on("10.99.0.1:80"); });
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd = testing::tcp_socket();
    if (setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) != 0)
      return std::string("dev");
    if (const int error = testing::connect_to(fd.get(), "10.99.0.1:80")) {
      return std::string(strerror(error));
    }
    return testing::read_text(fd.get());
  });
  const Fd accepted = testing::accept_from(outbound());
  ASSERT_TRUE(accepted) << client.answer();
  testing::write_text(accepted.get(), "captured");
  EXPECT_EQ(client.answer(), "captured");
  EXPECT_FALSE(testing::comes_in_time(server.get(), 0));
  EXPECT_EQ(counted("outbound_unbound"), 1u);
}

TEST_F(CaptureTest, SocketThatWasCapturedAndConnectsAgainIsNotMarkedAnyMore) {
  const Fd server =
      *in_netns(bed_->out(), []() -> Result<Fd> { return testing::listen_on("10.99.0.1:80"); });
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [this] {
    listeners_ = Listeners{};  // this process's copies
    const Fd fd = testing::tcp_socket();
    sockaddr nowhere{};
    nowhere.sa_family = AF_UNSPEC;
    if (testing::connect_to(fd.get(), kService) != 0) return std::string("not captured");
    testing::write_text(fd.get(), "go");
    testing::read_text(fd.get());
    connect(fd.get(), &nowhere, sizeof(nowhere));
    if (const int error = testing::connect_to(fd.get(), "10.99.0.1:80")) {
      return std::string(strerror(error));
    }
    return testing::read_text(fd.get());
  });
  {
    const Fd captured = testing::accept_from(outbound());
    ASSERT_TRUE(captured) << client.answer();
    EXPECT_EQ(testing::read_text(captured.get()), "go");
    add(true);
    listeners_ = Listeners{};
    testing::write_text(captured.get(), "now elsewhere");
  }
  const Fd accepted = testing::accept_from(server.get());
  ASSERT_TRUE(accepted) << client.answer();
  testing::write_text(accepted.get(), "direct");
  EXPECT_EQ(client.answer(), "direct");
}

// Inbound.

// What a client sends while the application's side is not bound yet must come to its own
// connection: here that is for long, until the application has something to read.
TEST_F(CaptureTest, ApplicationsSeeTheClientsPortOfAnInnerLegThatHasAnother) {
  for (const bool v6 : {false, true}) {
    const std::string pod = v6 ? "[fd99::2]:8080" : "10.99.0.2:8080";
    const Fd app = *in_netns(bed_->pod(), [v6]() -> Result<Fd> {
      return testing::listen_on(v6 ? "[::]:8080" : "0.0.0.0:8080");
    });
    const int seconds = 10;
    ASSERT_EQ(setsockopt(app.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)), 0);
    Child application = bed_->run(testing::kPodCgroup, bed_->pod(), [listener = app.get()] {
      const Fd side = testing::accept_from(listener);
      std::string seen = testing::peer_of(side.get()) + " " + testing::read_text(side.get());
      testing::write_text(side.get(), "from the app");
      return seen;
    });
    Child client = client_outside(*bed_, pod);
    const Fd outer = testing::accept_from(
        listeners_[v6 ? WEFT_LISTENER_INBOUND_V6 : WEFT_LISTENER_INBOUND_V4].get());
    const SocketAddress from = *SocketAddress::parse(testing::peer_of(outer.get()));
    const SocketAddress other{from.ip, static_cast<uint16_t>(v6 ? 4711 : 4712)};

    const Fd inner = dial_inner_leg(bed_->pod(), other.to_string(), from.port);
    ASSERT_EQ(testing::connect_to(inner.get(), pod), 0);
    EXPECT_EQ(testing::read_text(outer.get()), from.to_string());
    testing::write_text(inner.get(), "to the app");
    EXPECT_EQ(testing::read_text(inner.get()), "from the app");
    EXPECT_EQ(application.answer(), from.to_string() + " to the app");
    EXPECT_EQ(testing::peer_of(inner.get()), pod) << "ztunnel's own end has the mark too";
    testing::write_text(outer.get(), "to the client");
    EXPECT_EQ(client.answer(), "to the client");
  }
}

// The client of a port that nobody serves: ztunnel's leg is refused at once, so that it can say so.
TEST_F(CaptureTest, InnerLegToAPortThatNobodyServesIsRefusedAtOnce) {
  for (const bool v6 : {false, true}) {
    const Fd inner = dial_inner_leg(bed_->pod(), v6 ? "[fd99::1]:40000" : "10.99.0.1:40000");
    EXPECT_EQ(testing::connect_to(inner.get(), v6 ? "[fd99::2]:9" : "10.99.0.2:9"), ECONNREFUSED);
  }
}

// Life.

TEST_F(CaptureTest, CaptureGoesOnWithoutTheAgentAndIsTakenOverByTheNext) {
  capture_.reset();
  Child first = client_in_pod(kService);
  const Fd accepted = testing::accept_from(outbound());
  ASSERT_TRUE(accepted) << first.answer();
  testing::write_text(accepted.get(), "without an agent");
  EXPECT_EQ(first.answer(), "without an agent");

  open_capture();
  ASSERT_TRUE(capture_->find(cookie_));
  EXPECT_EQ(capture_->find(cookie_)->addresses, kPod);
  EXPECT_EQ(capture_->slot_sockets(0)[WEFT_LISTENER_INBOUND_V4], *socket_cookie(inbound()));
  EXPECT_EQ(capture_->proxies().size(), 1u);
  EXPECT_EQ(counted("outbound_captured"), 1u) << "counters go on";
  add(false);
  EXPECT_EQ(capture_->pods()->size(), 1u);
  Child second = client_in_pod(kService);
  const Fd again = testing::accept_from(outbound());
  ASSERT_TRUE(again) << second.answer();
  testing::write_text(again.get(), "with the next agent");
  EXPECT_EQ(second.answer(), "with the next agent");
  EXPECT_EQ(counted("looped_taken"), 2u) << "one program a hook, not two";
}

TEST_F(CaptureTest, RemovedPodIsNotCapturedAndLeavesNothing) {
  const Fd server =
      *in_netns(bed_->out(), []() -> Result<Fd> { return testing::listen_on("10.99.0.1:80"); });
  ASSERT_TRUE(capture_->remove(cookie_));
  ASSERT_TRUE(capture_->remove(cookie_)) << "twice is fine";
  ASSERT_TRUE(in_netns(bed_->pod(), remove_loop_routes));
  ASSERT_TRUE(in_netns(bed_->pod(), remove_loop_routes)) << "twice is fine";

  Child client = client_in_pod("10.99.0.1:80");
  const Fd accepted = testing::accept_from(server.get());
  ASSERT_TRUE(accepted) << client.answer();
  testing::write_text(accepted.get(), "direct");
  EXPECT_EQ(client.answer(), "direct");

  EXPECT_EQ(capture_->slot_sockets(0)[WEFT_LISTENER_INBOUND_V4], 0u);
  const std::string pod = "ip -n " + bed_->pod_name();
  EXPECT_EQ(testing::shell_output(pod + " rule | grep fwmark"), "");
  EXPECT_EQ(testing::shell_output(pod + " route show table 100 2>/dev/null"), "");
  EXPECT_EQ(testing::shell_output("ls " + bed_->bpffs() + "/node_one | grep deliver"), "");
}

TEST_F(CaptureTest, WithdrawAllLeavesNoPinAndNoLink) {
  const std::string of_cgroup = "bpftool cgroup show " + bed_->cgroup() + " | grep -c connect";
  EXPECT_EQ(testing::shell_output(of_cgroup), "2\n");
  ASSERT_TRUE(capture_->withdraw_all());
  EXPECT_EQ(testing::shell_output(of_cgroup), "0\n");
  EXPECT_EQ(testing::shell_output("ls " + bed_->bpffs() + " | grep node"), "");
  EXPECT_EQ(client_in_pod("127.0.0.1:1").answer(), strerror(ECONNREFUSED));
}

TEST_F(CaptureTest, LoopRoutesAreAddedOnce) {
  ASSERT_TRUE(in_netns(bed_->pod(), [] { return add_loop_routes(kPod); }));
  const std::string pod = "ip -n " + bed_->pod_name();
  EXPECT_EQ(testing::shell_output(pod + " rule | grep -c 'fwmark.*lookup 100'"), "2\n");
  EXPECT_EQ(testing::shell_output(pod + " route show table 100"),
            "local default dev lo proto static scope host src 10.99.0.2 \n");
}

TEST_F(CaptureTest, MapsOfAnotherVersionAreReplaced) {
  capture_.reset();
  const std::string pin = bed_->bpffs() + "/node_one/map-weft_abi";
  testing::shell("bpftool map update pinned " + pin + " key 0 0 0 0 value 0xff 0 0 0");
  open_capture();
  EXPECT_TRUE(capture_->pods()->empty());
  EXPECT_EQ(testing::shell_output("ls " + bed_->bpffs() + "/node_one | grep deliver"), "");
  add(false);
  Child client = client_in_pod(kService);
  EXPECT_TRUE(testing::accept_from(outbound()));
}

// The program behind a pinned link, as another owner would have one of its own.
Fd program_of_link(const std::string& pin) {
  const Fd link(bpf_obj_get(pin.c_str()));
  bpf_link_info info{};
  uint32_t length = sizeof(info);
  EXPECT_EQ(bpf_obj_get_info_by_fd(link.get(), &info, &length), 0);
  return Fd(bpf_prog_get_fd_by_id(info.prog_id));
}

TEST_F(CaptureTest, AttachBesideAnExclusiveOwnerIsExplained) {
  const std::string path = bed_->cgroup() + "/other";
  const Fd cgroup(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Fd program = program_of_link(bed_->bpffs() + "/node_one/link-connect4");
  constexpr bpf_attach_type kType = BPF_CGROUP_INET4_CONNECT;
  ASSERT_EQ(bpf_prog_attach(program.get(), cgroup.get(), kType, 0), 0) << strerror(errno);
  const auto opened =
      Capture::open({.cgroup_root = path, .bpffs = bed_->bpffs(), .name = "second"});
  EXPECT_EQ(bpf_prog_detach2(program.get(), cgroup.get(), kType), 0);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kRefused);
  EXPECT_NE(opened.error().to_string().find("exclusively"), std::string::npos)
      << opened.error().to_string();
}

}  // namespace
}  // namespace weft::enrol
