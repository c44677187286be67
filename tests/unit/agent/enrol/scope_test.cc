// What a pod's annotations leave out of capture, with real sockets: each row connects once, and the
// connection must come either to the listener or to the server itself.
#include "agent/enrol/scope_maps.h"
#include "tests/unit/agent/enrol/capture_fixture.h"

#include <bpf/bpf.h>
#include <poll.h>

#include <array>

namespace weft::enrol {
namespace {

using compile::CaptureScope;
using testing::Child;

CaptureScope scope_of(const std::vector<std::pair<std::string, std::string>>& annotations) {
  compile::Labels labels;
  for (const auto& [name, value] : annotations) {
    labels["traffic.sidecar.istio.io/" + name] = value;
  }
  std::vector<compile::AnnotationMistake> mistakes;
  CaptureScope scope = compile::read_capture_scope(labels, mistakes);
  EXPECT_TRUE(mistakes.empty());
  return scope;
}

class ScopeTest : public CaptureTest {
 protected:
  void set_scope(const CaptureScope& scope) {
    const auto added = capture_->add({.netns_fd = bed_->pod(),
                                      .netns_cookie = cookie_,
                                      .addresses = kPod,
                                      .listeners = &listeners_,
                                      .scope = scope});
    ASSERT_TRUE(added) << added.error().to_string();
  }

  // Whether a connection comes to `listener`; otherwise it must come to a server at `address`.
  bool is_captured(const std::string& cgroup, int client, int server, const std::string& address,
                   int listener) {
    const Fd direct =
        *in_netns(server, [&]() -> Result<Fd> { return testing::listen_on(address); });
    Child child = bed_->run(cgroup, client, [&] {
      const Fd fd = testing::tcp_socket(testing::family_of(address));
      if (const int error = testing::connect_to(fd.get(), address)) {
        return std::string(strerror(error));
      }
      return testing::read_text(fd.get());
    });
    std::array<pollfd, 2> wait{pollfd{.fd = listener, .events = POLLIN, .revents = 0},
                               pollfd{.fd = direct.get(), .events = POLLIN, .revents = 0}};
    EXPECT_GT(poll(wait.data(), wait.size(), testing::kWaitSeconds * 1000), 0) << address;
    const bool captured = wait[0].revents != 0;
    {
      const Fd accepted = testing::accept_from(captured ? listener : direct.get());
      if (accepted) testing::write_text(accepted.get(), "seen");
    }
    EXPECT_EQ(child.answer(), "seen") << address;
    return captured;
  }
  bool is_captured_out(const std::string& to) {
    const bool v6 = testing::family_of(to) == AF_INET6;
    return is_captured(testing::kPodCgroup, bed_->pod(), bed_->out(), to,
                       v6 ? listeners_[WEFT_LISTENER_OUTBOUND_V6].get() : outbound());
  }
  bool is_captured_in(uint16_t port) {
    return is_captured("other", bed_->out(), bed_->pod(), "10.99.0.2:" + std::to_string(port),
                       inbound());
  }
};

TEST_F(ScopeTest, ExcludedPortsAndRangesGoOutDirectly) {
  testing::shell("ip -n " + bed_->out_name() + " addr add 10.50.1.1/32 dev lo");
  testing::shell("ip -n " + bed_->out_name() + " addr add 10.50.2.1/32 dev lo");
  set_scope(
      scope_of({{"excludeOutboundPorts", "3306"}, {"excludeOutboundIPRanges", "10.50.1.0/24"}}));
  EXPECT_FALSE(is_captured_out("10.99.0.1:3306"));
  EXPECT_FALSE(is_captured_out("10.50.1.1:80"));
  EXPECT_TRUE(is_captured_out("10.50.2.1:80"));
  EXPECT_TRUE(is_captured_out("10.99.0.1:80"));
  EXPECT_EQ(counted("outbound_excluded"), 2u);
  // Ports of connections in are others.
  EXPECT_TRUE(is_captured_in(3306));
}

TEST_F(ScopeTest, OnlyIncludedRangesAndPortsAreCaptured) {
  for (const char* address : {"10.50.1.1", "10.50.2.1", "10.51.0.1"}) {
    testing::shell("ip -n " + bed_->out_name() + " addr add " + address + "/32 dev lo");
  }
  set_scope(scope_of({{"includeOutboundIPRanges", "10.50.0.0/16"},
                      {"includeOutboundPorts", "443"},
                      {"excludeOutboundIPRanges", "10.50.2.0/24"}}));
  EXPECT_TRUE(is_captured_out("10.50.1.1:80"));
  EXPECT_FALSE(is_captured_out("10.50.2.1:80")) << "excluded goes before included";
  EXPECT_FALSE(is_captured_out("10.51.0.1:80"));
  EXPECT_TRUE(is_captured_out("10.51.0.1:443"));
  EXPECT_FALSE(is_captured_out("10.50.2.1:443"));
}

TEST_F(ScopeTest, RangesOfIpv6) {
  testing::shell("ip -n " + bed_->out_name() + " addr add fd50::1/128 dev lo");
  testing::shell("ip -n " + bed_->pod_name() + " route add fd50::1/128 via fd99::1");
  set_scope(scope_of({{"excludeOutboundIPRanges", "fd50::/16"}}));
  EXPECT_FALSE(is_captured_out("[fd50::1]:80"));
  EXPECT_TRUE(is_captured_out("[fd99::1]:80"));
  EXPECT_TRUE(is_captured_out("10.99.0.1:80"));
  set_scope(scope_of({{"includeOutboundIPRanges", "fd50::/16"}}));
  EXPECT_TRUE(is_captured_out("[fd50::1]:80"));
  EXPECT_FALSE(is_captured_out("10.99.0.1:80"))
      << "a range of one family says nothing of the other";
}

// The longer prefix does not win: excluded is excluded.
TEST_F(ScopeTest, NarrowIncludeWithinAWideExcludeIsExcluded) {
  testing::shell("ip -n " + bed_->out_name() + " addr add 10.50.1.1/32 dev lo");
  set_scope(scope_of(
      {{"includeOutboundIPRanges", "10.50.1.0/24"}, {"excludeOutboundIPRanges", "10.0.0.0/8"}}));
  EXPECT_FALSE(is_captured_out("10.50.1.1:80"));
}

TEST_F(ScopeTest, EmptyIncludeListsCaptureOnlyTheMeshsOwnPort) {
  set_scope(scope_of({{"includeOutboundIPRanges", ""}, {"includeInboundPorts", ""}}));
  EXPECT_FALSE(is_captured_out("10.99.0.1:80"));
  EXPECT_FALSE(is_captured_in(8080));
  EXPECT_TRUE(is_captured_in(15008));
}

TEST_F(ScopeTest, InboundPorts) {
  CaptureScope scope;
  scope.exclude_inbound_ports = {9090, 15008};
  set_scope(scope);
  EXPECT_FALSE(is_captured_in(9090));
  EXPECT_TRUE(is_captured_in(8080));
  EXPECT_TRUE(is_captured_in(15008));
  set_scope(scope_of({{"includeInboundPorts", "8081"}, {"excludeInboundPorts", "8081"}}));
  EXPECT_TRUE(is_captured_in(8081)) << "exclusions only count where all ports are captured";
  EXPECT_FALSE(is_captured_in(9091));
  EXPECT_EQ(counted("inbound_excluded"), 2u);
}

TEST_F(ScopeTest, ChangesWhileCaptured) {
  set_scope(scope_of({{"excludeOutboundPorts", "3306"}, {"excludeInboundPorts", "9090"}}));
  EXPECT_FALSE(is_captured_out("10.99.0.1:3306"));
  set_scope(scope_of({{"excludeOutboundPorts", "6379"}}));
  EXPECT_TRUE(is_captured_out("10.99.0.1:3306"));
  EXPECT_FALSE(is_captured_out("10.99.0.1:6379"));
  EXPECT_TRUE(is_captured_in(9090));
  set_scope({});
  EXPECT_TRUE(is_captured_out("10.99.0.1:6379"));
  const std::string dump = "bpftool map dump pinned " + bed_->bpffs() + "/node_one/map-weft_scope_";
  EXPECT_EQ(testing::shell_output(dump + "ports | grep -c key"), "0\n");
}

// The next pod in the slot is none of the last one's business.
TEST_F(ScopeTest, NothingIsLeftOfAPodThatWent) {
  set_scope(scope_of({{"excludeOutboundPorts", "3306"},
                      {"excludeInboundPorts", "9090"},
                      {"excludeOutboundIPRanges", "10.0.0.0/8"}}));
  const std::string dump = "bpftool map dump pinned " + bed_->bpffs() + "/node_one/map-weft_scope_";
  EXPECT_EQ(testing::shell_output(dump + "ports | grep -c key"), "2\n");
  EXPECT_EQ(testing::shell_output(dump + "ranges | grep -c key"), "1\n");
  ASSERT_TRUE(capture_->remove(cookie_));
  EXPECT_EQ(testing::shell_output(dump + "ports | grep -c key"), "0\n");
  EXPECT_EQ(testing::shell_output(dump + "ranges | grep -c key"), "0\n");
  add(false);
  EXPECT_TRUE(is_captured_out("10.99.0.1:3306"));
}

// A map has a bound, and the pod that does not fit in says so instead of being captured less.
TEST_F(ScopeTest, FullMapIsAnErrorAndLeavesThePodAsItWas) {
  const std::string pins = bed_->bpffs() + "/node_one/map-weft_scope_";
  const Fd ports(bpf_obj_get((pins + "ports").c_str()));
  const Fd ranges(bpf_obj_get((pins + "ranges").c_str()));
  const ScopeMaps maps(ports.get(), ranges.get());
  CaptureScope many;
  for (uint16_t port = 1; port <= 4096; ++port) many.exclude_inbound_ports.push_back(port);
  for (uint32_t slot = 100; slot < 104; ++slot) {
    const auto added = maps.add_entries(slot, many);
    ASSERT_TRUE(added) << added.error().to_string();
  }
  const auto refused = capture_->add({.netns_fd = bed_->pod(),
                                      .netns_cookie = cookie_,
                                      .addresses = kPod,
                                      .listeners = &listeners_,
                                      .scope = scope_of({{"excludeOutboundPorts", "3306"}})});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kLimit);
  EXPECT_TRUE(is_captured_out("10.99.0.1:3306"));
}

}  // namespace
}  // namespace weft::enrol
