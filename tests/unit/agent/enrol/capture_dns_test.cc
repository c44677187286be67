// Capture of DNS datagrams: which come to the DNS sockets, which never, and that real resolvers'
// answers still arrive.
#include "tests/unit/agent/enrol/capture_fixture.h"

#include <arpa/inet.h>
#include <poll.h>
#include <unistd.h>

#include <array>

namespace weft::enrol {
namespace {

using testing::Child;

Fd datagram_socket(int family) {
  Fd fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const timeval wait{.tv_sec = testing::kWaitSeconds, .tv_usec = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  return fd;
}

int send_to(int fd, const std::string& address, const std::string& text) {
  sockaddr_storage to{};
  const socklen_t length = SocketAddress::parse(address)->to_sockaddr(to);
  return sendto(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&to), length) < 0
             ? errno
             : 0;
}

// As "text from address", so that a wrong sender fails a comparison, too.
std::string receive_from(int fd) {
  std::array<char, 512> text{};
  sockaddr_storage from{};
  socklen_t length = sizeof(from);
  const ssize_t got =
      recvfrom(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
  if (got < 0) return strerror(errno);
  return std::string(text.data(), static_cast<size_t>(got)) + " from " +
         SocketAddress::from_sockaddr(from).to_string();
}

// A server in the calling thread's namespace.
Fd serve_on(const std::string& address) {
  Fd fd = datagram_socket(testing::family_of(address));
  sockaddr_storage at{};
  const socklen_t length = SocketAddress::parse(address)->to_sockaddr(at);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&at), length), 0) << strerror(errno);
  return fd;
}

struct Query {
  std::string text;
  SocketAddress client;
  SocketAddress resolver;
};

// The next query of a DNS socket and whom it asked.
Query next_query(int dns) {
  Query query;
  pollfd wait{.fd = dns, .events = POLLIN, .revents = 0};
  EXPECT_EQ(poll(&wait, 1, testing::kWaitSeconds * 1000), 1) << "no query came";
  std::array<char, 512> text{};
  alignas(cmsghdr) std::array<char, 256> control{};
  sockaddr_storage from{};
  iovec piece{.iov_base = text.data(), .iov_len = text.size()};
  msghdr message{};
  message.msg_name = &from;
  message.msg_namelen = sizeof(from);
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = recvmsg(dns, &message, MSG_DONTWAIT);
  if (got < 0) return query;
  query.text.assign(text.data(), static_cast<size_t>(got));
  query.client = SocketAddress::from_sockaddr(from);
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
    const bool v4 = one->cmsg_level == SOL_IP && one->cmsg_type == IP_ORIGDSTADDR;
    const bool v6 = one->cmsg_level == SOL_IPV6 && one->cmsg_type == IPV6_ORIGDSTADDR;
    if (!v4 && !v6) continue;
    sockaddr_storage to{};
    std::memcpy(&to, CMSG_DATA(one), v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    query.resolver = SocketAddress::from_sockaddr(to);
  }
  return query;
}

class CaptureDnsTest : public CaptureTest {
 protected:
  void SetUp() override {
    CaptureTest::SetUp();
    if (IsSkipped()) return;
    add(false, true);
    loop(true);
  }
  void loop(bool looped) {
    const auto done = in_netns(bed_->pod(), looped ? add_dns_rules : remove_dns_rules);
    ASSERT_TRUE(done) << done.error().to_string();
  }
  int dns_v4() const { return listeners_[WEFT_LISTENER_DNS_V4].get(); }
  int dns_v6() const { return listeners_[WEFT_LISTENER_DNS_V6].get(); }

  // Answers with the asked resolver's address, as ztunnel does by a raw socket.
  void answer(const Query& query, const std::string& text) {
    const Fd fd = *in_netns(bed_->pod(), [&]() -> Result<Fd> {
      const bool v4 = query.resolver.ip.is_v4();
      Fd made = datagram_socket(v4 ? AF_INET : AF_INET6);
      const int on = 1;
      EXPECT_EQ(setsockopt(made.get(), v4 ? SOL_IP : SOL_IPV6,
                           v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &on, sizeof(on)),
                0);
      sockaddr_storage from{};
      const socklen_t length = query.resolver.to_sockaddr(from);
      EXPECT_EQ(bind(made.get(), reinterpret_cast<sockaddr*>(&from), length), 0);
      return made;
    });
    EXPECT_EQ(send_to(fd.get(), query.client.to_string(), text), 0);
  }
};

// musl asks every resolver from one unconnected socket; the first datagram counts.
TEST_F(CaptureDnsTest, OneUnconnectedSocketAsksTwoResolvers) {
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd = datagram_socket(AF_INET);
    if (send_to(fd.get(), "10.96.0.10:53", "one") != 0) return std::string(strerror(errno));
    std::string answers = receive_from(fd.get());
    if (send_to(fd.get(), "10.96.0.11:53", "two") != 0) return std::string(strerror(errno));
    return answers + ", " + receive_from(fd.get());
  });
  const Query one = next_query(dns_v4());
  EXPECT_EQ(one.text, "one");
  EXPECT_EQ(one.resolver.to_string(), "10.96.0.10:53");
  EXPECT_EQ(one.client.ip, kPod.v4);
  answer(one, "1");
  const Query two = next_query(dns_v4());
  EXPECT_EQ(two.resolver.to_string(), "10.96.0.11:53");
  answer(two, "2");
  EXPECT_EQ(client.answer(), "1 from 10.96.0.10:53, 2 from 10.96.0.11:53");
  EXPECT_EQ(counted("dns_taken"), 2u);
}

struct Resolver {
  const char* name;
  int family;  // of the client's socket
  const char* address;
  bool connected;
};

class ResolverTest : public CaptureDnsTest, public ::testing::WithParamInterface<Resolver> {};

TEST_P(ResolverTest, IsAnsweredFromItsAddress) {
  const Resolver& row = GetParam();
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [&row] {
    const Fd fd = datagram_socket(row.family);
    sockaddr_storage plain{};
    socklen_t length = SocketAddress::parse(row.address)->to_sockaddr(plain);
    if (row.family == AF_INET6 && plain.ss_family == AF_INET) {
      sockaddr_in6 mapped{};
      mapped.sin6_family = AF_INET6;
      mapped.sin6_port = htons(53);
      const auto bytes = SocketAddress::parse(row.address)->ip.bytes16();
      std::memcpy(&mapped.sin6_addr, bytes.data(), bytes.size());
      std::memcpy(&plain, &mapped, sizeof(mapped));
      length = sizeof(mapped);
    }
    const auto* to = reinterpret_cast<const sockaddr*>(&plain);
    if (row.connected && connect(fd.get(), to, length) != 0) return std::string(strerror(errno));
    if (sendto(fd.get(), "q", 1, 0, row.connected ? nullptr : to, row.connected ? 0 : length) < 0) {
      return std::string(strerror(errno));
    }
    return receive_from(fd.get());
  });
  const bool v4 = testing::family_of(row.address) == AF_INET;
  const Query query = next_query(v4 ? dns_v4() : dns_v6());
  EXPECT_EQ(query.resolver.to_string(), row.address);
  EXPECT_EQ(query.client.ip, v4 ? kPod.v4 : kPod.v6);
  answer(query, "a");
  EXPECT_EQ(client.answer(), std::string("a from ") + row.address);
}

INSTANTIATE_TEST_SUITE_P(
    Capture, ResolverTest,
    ::testing::Values(Resolver{"Connected", AF_INET, "10.96.0.10:53", true},
                      Resolver{"V6", AF_INET6, "[fd96::10]:53", false},
                      Resolver{"V6Connected", AF_INET6, "[fd96::10]:53", true},
                      Resolver{"V4Mapped", AF_INET6, "10.96.0.10:53", false},
                      Resolver{"V4MappedConnected", AF_INET6, "10.96.0.10:53", true},
                      Resolver{"LinkLocal", AF_INET, "169.254.20.10:53", false},
                      Resolver{"TheNodes", AF_INET, "10.99.0.1:53", false}),
    [](const auto& row) { return std::string(row.param.name); });

// What must reach its server as if there were no capture, and be answered.
struct Direct {
  const char* name;
  const char* cgroup;
  bool in_pod;
  const char* serve;
  bool serve_in_pod;
  const char* ask;
};

class DirectTest : public CaptureDnsTest, public ::testing::WithParamInterface<Direct> {};

TEST_P(DirectTest, ReachesItsServer) {
  const Direct& row = GetParam();
  Child serving = bed_->run("other", row.serve_in_pod ? bed_->pod() : bed_->out(), [&row] {
    const Fd fd = serve_on(row.serve);
    std::array<char, 64> text{};
    sockaddr_storage from{};
    socklen_t length = sizeof(from);
    // Says that it is there by answering; the client asks until then.
    const ssize_t got = recvfrom(fd.get(), text.data(), text.size(), 0,
                                 reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0) return std::string(strerror(errno));
    sendto(fd.get(), "direct", 6, 0, reinterpret_cast<sockaddr*>(&from), length);
    return std::string("served");
  });
  Child client = bed_->run(row.cgroup, row.in_pod ? bed_->pod() : bed_->out(), [&row] {
    const Fd fd = datagram_socket(testing::family_of(row.ask));
    for (int attempt = 0; attempt < 250; ++attempt) {
      send_to(fd.get(), row.ask, "q");
      pollfd wait{.fd = fd.get(), .events = POLLIN, .revents = 0};
      if (poll(&wait, 1, 20) == 1) return receive_from(fd.get());
    }
    return std::string("no answer");
  });
  EXPECT_EQ(client.answer(), std::string("direct from ") + row.ask);
  EXPECT_EQ(serving.answer(), "served");
  EXPECT_FALSE(testing::comes_in_time(dns_v4(), 0));
  EXPECT_FALSE(testing::comes_in_time(dns_v6(), 0));
}

INSTANTIATE_TEST_SUITE_P(
    Capture, DirectTest,
    ::testing::Values(
        // ztunnel's own question: the answer must not look like a martian.
        Direct{"Proxy", "proxy", true, "10.99.0.1:53", false, "10.99.0.1:53"},
        Direct{"ProxyV6", "proxy", true, "[fd99::1]:53", false, "[fd99::1]:53"},
        Direct{"AnotherPort", testing::kPodCgroup, true, "10.99.0.1:443", false, "10.99.0.1:443"},
        Direct{"AnotherPortV6", testing::kPodCgroup, true, "[fd99::1]:443", false, "[fd99::1]:443"},
        Direct{"Loopback", testing::kPodCgroup, true, "127.0.0.53:53", true, "127.0.0.53:53"},
        Direct{"LoopbackV6", testing::kPodCgroup, true, "[::1]:53", true, "[::1]:53"},
        Direct{"OwnAddress", testing::kPodCgroup, true, "10.99.0.2:53", true, "10.99.0.2:53"},
        // The pod is a DNS server, on every address: our sockets are not in its way.
        Direct{"ServerInThePod", "other", false, "0.0.0.0:53", true, "10.99.0.2:53"},
        Direct{"ServerInThePodV6", "other", false, "[::]:53", true, "[fd99::2]:53"}),
    [](const auto& row) { return std::string(row.param.name); });

std::string ask_once(const std::string& resolver) {
  const Fd fd = datagram_socket(testing::family_of(resolver));
  if (const int error = send_to(fd.get(), resolver, "q")) return strerror(error);
  return receive_from(fd.get());
}

TEST_F(CaptureDnsTest, WithoutTheRulesResolversAreAskedDirectly) {
  const Fd server = *in_netns(bed_->out(), []() -> Result<Fd> { return serve_on("10.99.0.1:53"); });
  loop(false);
  loop(false);  // twice is fine
  Child client =
      bed_->run(testing::kPodCgroup, bed_->pod(), [] { return ask_once("10.99.0.1:53"); });
  EXPECT_TRUE(receive_from(server.get()).starts_with("q from 10.99.0.2:"));
  EXPECT_FALSE(testing::comes_in_time(dns_v4(), 0));
  const std::string pod = bed_->pod_name();
  EXPECT_EQ(testing::shell_output("ip -n " + pod + " rule | grep dport"), "");
  EXPECT_EQ(testing::shell_output("ip -6 -n " + pod + " rule | grep dport"), "");
}

TEST_F(CaptureDnsTest, PodThatDoesNotTakePartIsNotMarked) {
  add(false, false);
  const Fd server = *in_netns(bed_->out(), []() -> Result<Fd> { return serve_on("10.99.0.1:53"); });
  Child client =
      bed_->run(testing::kPodCgroup, bed_->pod(), [] { return ask_once("10.99.0.1:53"); });
  EXPECT_TRUE(receive_from(server.get()).starts_with("q from 10.99.0.2:"));
  EXPECT_FALSE(testing::comes_in_time(dns_v4(), 0));
}

TEST_F(CaptureDnsTest, QueriesWaitInTheSocket) {
  constexpr int kQueries = 1'000;
  Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
    const Fd fd = datagram_socket(AF_INET);
    const std::string query(100, 'q');
    for (int i = 0; i < kQueries; ++i) {
      if (send_to(fd.get(), "10.96.0.10:53", query) != 0) return std::string(strerror(errno));
    }
    return std::string("sent");
  });
  EXPECT_EQ(client.answer(), "sent");
  for (int i = 0; i < kQueries; ++i) ASSERT_EQ(next_query(dns_v4()).text.size(), 100u) << i;
}

}  // namespace
}  // namespace weft::enrol
