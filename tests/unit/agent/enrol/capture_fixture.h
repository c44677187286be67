#pragma once

#include "agent/enrol/capture.h"
#include "agent/enrol/cgroups.h"
#include "agent/enrol/listeners.h"
#include "agent/enrol/netlink.h"
#include "agent/enrol/netns.h"
#include "tests/unit/agent/enrol/testbed.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

namespace weft::enrol {

// Routed to the pod's gateway, which does not forward: an uncaptured connection gets nowhere.
constexpr const char* kService = "10.96.0.7:80";

inline const PodAddresses kPod{.v4 = *IpAddress::parse("10.99.0.2"),
                               .v6 = *IpAddress::parse("fd99::2")};

// ztunnel's connection to the application, from the client's address and port, or from another port
// with the client's in its mark.
inline Fd dial_inner_leg(int netns_fd, const std::string& from, uint16_t port_to_see = 0) {
  const bool v6 = testing::family_of(from) == AF_INET6;
  Fd fd = testing::tcp_socket_in(netns_fd, testing::family_of(from));
  const int on = 1;
  const int mark = WEFT_MARK_INNER | port_to_see << WEFT_MARK_PORT_SHIFT;
  EXPECT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &mark, sizeof(mark)), 0);
  EXPECT_EQ(setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), 0);
  EXPECT_EQ(setsockopt(fd.get(), v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT,
                       &on, sizeof(on)),
            0);
  sockaddr_storage source{};
  const socklen_t length = SocketAddress::parse(from)->to_sockaddr(source);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&source), length), 0) << strerror(errno);
  return fd;
}

// A client outside the pod: connects, writes its own address, reads.
inline testing::Child client_outside(const testing::Testbed& bed, const std::string& to) {
  return bed.run("other", bed.out(), [to] {
    const Fd fd = testing::tcp_socket(testing::family_of(to));
    if (const int error = testing::connect_to(fd.get(), to)) return std::string(strerror(error));
    testing::write_text(fd.get(), testing::local_of(fd.get()));
    return testing::read_text(fd.get());
  });
}

// One pod under capture, with listeners that the test itself accepts from.
class CaptureTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = testing::missing_for_capture();
    if (!missing.empty()) GTEST_SKIP() << "needs " << missing;
    bed_.emplace();
    cookie_ = *netns_cookie(bed_->pod());
    open_capture();
    prepare_pod();
    add(false);
  }

  void open_capture() {
    auto opened = Capture::open({.cgroup_root = bed_->cgroup(),
                                 .bpffs = bed_->bpffs(),
                                 .name = "node.one",
                                 .node_netns_cookie = *netns_cookie(bed_->out())});
    ASSERT_TRUE(opened) << opened.error().to_string();
    capture_ = std::move(*opened);
    ASSERT_TRUE(capture_->add_proxy(*cgroup_id(bed_->cgroup() + "/proxy")));
  }

  void prepare_pod() {
    auto listeners = in_netns(bed_->pod(), []() -> Result<Listeners> {
      TRY(add_loop_routes(kPod));
      const std::string interface = TRY(interface_with(kPod.first()));
      return open_listeners(interface);
    });
    ASSERT_TRUE(listeners) << listeners.error().to_string();
    listeners_ = std::move(*listeners);
  }

  void add(bool open_when_empty, bool dns = false, const PodAddresses& addresses = kPod) {
    const auto added = capture_->add({.netns_fd = bed_->pod(),
                                      .netns_cookie = cookie_,
                                      .addresses = addresses,
                                      .listeners = &listeners_,
                                      .open_when_empty = open_when_empty,
                                      .dns = dns});
    ASSERT_TRUE(added) << added.error().to_string();
  }

  int inbound() const { return listeners_[WEFT_LISTENER_INBOUND_V4].get(); }
  int outbound() const { return listeners_[WEFT_LISTENER_OUTBOUND_V4].get(); }

  uint64_t counted(const std::string& name) {
    for (const CaptureCount& count : *capture_->counts()) {
      if (count.name == name) return count.value;
    }
    ADD_FAILURE() << "no counter " << name;
    return 0;
  }

  // A pod's process that connects, says its addresses and reads what comes back.
  testing::Child client_in_pod(const std::string& to) {
    return bed_->run(testing::kPodCgroup, bed_->pod(), [to] {
      const Fd fd = testing::tcp_socket(testing::family_of(to));
      if (const int error = testing::connect_to(fd.get(), to)) return std::string(strerror(error));
      testing::write_text(fd.get(), testing::peer_of(fd.get()));
      return testing::read_text(fd.get());
    });
  }

  std::optional<testing::Testbed> bed_;
  std::unique_ptr<Capture> capture_;
  Listeners listeners_;
  uint64_t cookie_ = 0;
};

}  // namespace weft::enrol
