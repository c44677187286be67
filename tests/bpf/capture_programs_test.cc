// The capture programs alone: each verifies, within a budget; and sk_lookup's decision by table,
// with BPF_PROG_TEST_RUN (which the kernel has for sk_lookup and not for connect hooks or sockops:
// those are tested with real sockets in tests/unit/agent/enrol).
#include "bpf/capture.skel.h"
#include "bpf/weft_abi.h"
#include "ztunnel/base/fd.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

namespace weft {
namespace {

constexpr uint32_t kSlot = 7;
// What an interface is called in a table. The kernel's test runs all come in by interface 0.
constexpr bool kLoopback = true;
constexpr bool kEth0 = false;

using Skeleton = std::unique_ptr<weft_capture, decltype(&weft_capture__destroy)>;

class ProgramsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root (CAP_BPF, CAP_NET_ADMIN)";
    skeleton_.reset(weft_capture__open());
    ASSERT_TRUE(skeleton_) << strerror(errno);
    skeleton_->rodata->pod_slot = kSlot;
    skeleton_->rodata->loopback_ifindex = loopback_ifindex();
    const int error = weft_capture__load(skeleton_.get());
    ASSERT_EQ(error, 0) << strerror(-error);
  }

  virtual uint32_t loopback_ifindex() const { return 1; }

  Skeleton skeleton_{nullptr, &weft_capture__destroy};
};

// Far below the kernel's million, so that nobody notices at once when a program explodes: we do.
constexpr uint32_t kVerifiedInstructionsMax = 5'000;

TEST_F(ProgramsTest, EachVerifiesWithinItsBudget) {
  int programs = 0;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton_->obj) {
    bpf_prog_info info{};
    uint32_t length = sizeof(info);
    ASSERT_EQ(bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &length), 0);
    EXPECT_LT(info.verified_insns, kVerifiedInstructionsMax) << bpf_program__name(program);
    EXPECT_GT(info.verified_insns, 0u);
    ++programs;
  }
  EXPECT_EQ(programs, 8);
}

TEST_F(ProgramsTest, MapsHaveTheLayoutOfTheHeader) {
  EXPECT_EQ(bpf_map__value_size(skeleton_->maps.weft_pods), sizeof(weft_pod));
  EXPECT_EQ(bpf_map__value_size(skeleton_->maps.weft_slots), sizeof(weft_pod));
  EXPECT_EQ(bpf_map__max_entries(skeleton_->maps.weft_listeners),
            uint32_t{WEFT_PODS_MAX} * WEFT_LISTENERS_PER_SLOT);
  EXPECT_EQ(bpf_map__key_size(skeleton_->maps.weft_probes), sizeof(weft_probe));
  EXPECT_EQ(bpf_map__max_entries(skeleton_->maps.weft_counters), uint32_t{WEFT_COUNTERS});
}

enum class Goes { kToNobody, kPast, kInbound, kOutbound, kDns };

struct Row {
  const char* name;
  bool by_loopback;
  const char* from;
  const char* to;
  uint32_t flags;
  bool listeners;
  Goes goes;
  uint8_t protocol = IPPROTO_TCP;
  uint32_t port = 80;

  bool is_v6() const { return std::string_view(to).find(':') != std::string_view::npos; }
};

// As the house keeps it: IPv4 v4-mapped.
weft_address address_of(const std::string& text) {
  weft_address address{};
  const std::string as_v6 = text.find(':') == std::string::npos ? "::ffff:" + text : text;
  EXPECT_EQ(inet_pton(AF_INET6, as_v6.c_str(), &address), 1) << text;
  return address;
}

// Names the row where a test fails.
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class DeliverTest : public ProgramsTest, public ::testing::WithParamInterface<Row> {
 protected:
  void SetUp() override {
    ProgramsTest::SetUp();
    if (IsSkipped()) return;
    const weft_pod pod{.slot = kSlot,
                       .flags = GetParam().flags,
                       .v4 = address_of("10.0.0.2"),
                       .v6 = address_of("fd00::2")};
    const uint32_t slot = kSlot;
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(skeleton_->maps.weft_slots), &slot, &pod, BPF_ANY),
              0);
    if (!GetParam().listeners) return;
    // All of them, so that a row also fails where the family is mistaken.
    for (uint32_t kind = 0; kind < WEFT_LISTENER_KINDS; ++kind) enter(kind);
  }

  uint32_t loopback_ifindex() const override { return GetParam().by_loopback ? 0 : 1; }

  void enter(uint32_t kind) {
    const bool v6 = kind == WEFT_LISTENER_INBOUND_V6 || kind == WEFT_LISTENER_OUTBOUND_V6 ||
                    kind == WEFT_LISTENER_DNS_V6;
    const bool dns = kind == WEFT_LISTENER_DNS_V4 || kind == WEFT_LISTENER_DNS_V6;
    Fd made(socket(v6 ? AF_INET6 : AF_INET, (dns ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0));
    if (dns) {
      sockaddr_storage any{};
      any.ss_family = v6 ? AF_INET6 : AF_INET;
      EXPECT_EQ(bind(made.get(), reinterpret_cast<const sockaddr*>(&any), sizeof(sockaddr_in6)), 0);
    } else {
      EXPECT_EQ(listen(made.get(), 1), 0);
    }
    const uint32_t key = kSlot * WEFT_LISTENERS_PER_SLOT + kind;
    const uint64_t value = static_cast<uint64_t>(made.get());
    EXPECT_EQ(
        bpf_map_update_elem(bpf_map__fd(skeleton_->maps.weft_listeners), &key, &value, BPF_ANY), 0);
    sockets_[kind] = std::move(made);
  }

  uint64_t cookie_of(weft_listener v4, weft_listener v6) const {
    return cookie_of(sockets_[GetParam().is_v6() ? v6 : v4]);
  }

  static uint64_t cookie_of(const Fd& socket) {
    uint64_t cookie = 0;
    socklen_t length = sizeof(cookie);
    EXPECT_EQ(getsockopt(socket.get(), SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
    return cookie;
  }

  std::array<Fd, WEFT_LISTENER_KINDS> sockets_;
};

TEST_P(DeliverTest, Decides) {
  const Row& row = GetParam();
  bpf_sk_lookup lookup{};
  lookup.family = row.is_v6() ? AF_INET6 : AF_INET;
  lookup.protocol = row.protocol;
  if (row.is_v6()) {
    inet_pton(AF_INET6, row.from, &lookup.remote_ip6);
    inet_pton(AF_INET6, row.to, &lookup.local_ip6);
  } else {
    inet_pton(AF_INET, row.from, &lookup.remote_ip4);
    inet_pton(AF_INET, row.to, &lookup.local_ip4);
  }
  lookup.remote_port = htons(40000);
  lookup.local_port = row.port;
  bpf_test_run_opts options{};
  options.sz = sizeof(options);
  options.ctx_in = &lookup;
  options.ctx_size_in = sizeof(lookup);
  options.ctx_out = &lookup;
  options.ctx_size_out = sizeof(lookup);
  ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(skeleton_->progs.deliver), &options), 0)
      << strerror(errno);

  const bool passes = row.goes != Goes::kToNobody;
  EXPECT_EQ(options.retval,
            passes ? static_cast<uint32_t>(SK_PASS) : static_cast<uint32_t>(SK_DROP));
  uint64_t expected = 0;
  if (row.goes == Goes::kInbound) {
    expected = cookie_of(WEFT_LISTENER_INBOUND_V4, WEFT_LISTENER_INBOUND_V6);
  } else if (row.goes == Goes::kOutbound) {
    expected = cookie_of(WEFT_LISTENER_OUTBOUND_V4, WEFT_LISTENER_OUTBOUND_V6);
  } else if (row.goes == Goes::kDns) {
    expected = cookie_of(WEFT_LISTENER_DNS_V4, WEFT_LISTENER_DNS_V6);
  }
  EXPECT_EQ(lookup.cookie, expected);
}

constexpr uint32_t kUp = WEFT_POD_UP;
constexpr uint32_t kUpOpen = WEFT_POD_UP | WEFT_POD_OPEN_INBOUND | WEFT_POD_OPEN_OUTBOUND;
constexpr uint32_t kUpDns = WEFT_POD_UP | WEFT_POD_DNS;
constexpr const char* kPod = "10.0.0.2";
constexpr const char* kPodV6 = "fd00::2";
constexpr uint32_t kDnsPort = 53;

INSTANTIATE_TEST_SUITE_P(
    Capture, DeliverTest,
    ::testing::Values(
        // What a captured socket sent comes over lo with somebody else's address.
        Row{"Looped", kLoopback, kPod, "10.96.0.7", kUp, true, Goes::kOutbound},
        Row{"LoopedFromLoopback", kLoopback, "127.0.0.1", "10.96.0.7", kUp, true, Goes::kOutbound},
        Row{"InnerLeg", kLoopback, "10.0.0.9", kPod, kUp, true, Goes::kPast},
        Row{"Loopback", kLoopback, "127.0.0.1", "127.0.0.1", kUp, true, Goes::kPast},
        Row{"PodToLoopback", kLoopback, kPod, "127.8.8.8", kUp, true, Goes::kPast},
        Row{"OtherOwnAddress", kLoopback, "10.50.0.1", "10.50.0.1", kUp, true, Goes::kPast},
        Row{"LoopedWithoutListener", kLoopback, kPod, "10.96.0.7", kUp, false, Goes::kToNobody},
        // Too late to let it pass: nobody else has that address here.
        Row{"LoopedWithoutListenerOpen", kLoopback, kPod, "10.96.0.7", kUpOpen, false,
            Goes::kToNobody},
        // From outside, or from the pod to its own address, by the pod's interface.
        Row{"Incoming", kEth0, "10.0.0.9", kPod, kUp, true, Goes::kInbound},
        Row{"IncomingOpen", kEth0, "10.0.0.9", kPod, kUpOpen, true, Goes::kInbound},
        Row{"IncomingToOtherAddress", kEth0, "10.0.0.9", "10.0.1.2", kUp, true, Goes::kInbound},
        Row{"Self", kEth0, kPod, kPod, kUp, true, Goes::kPast},
        Row{"SelfFromLoopback", kEth0, "127.0.0.1", kPod, kUp, true, Goes::kPast},
        Row{"IncomingWithoutListener", kEth0, "10.0.0.9", kPod, kUp, false, Goes::kToNobody},
        Row{"IncomingWithoutListenerOpen", kEth0, "10.0.0.9", kPod, kUpOpen, false, Goes::kPast},
        // Down: a listener counts as absent.
        Row{"IncomingDown", kEth0, "10.0.0.9", kPod, 0, true, Goes::kToNobody},
        Row{"IncomingDownOpen", kEth0, "10.0.0.9", kPod, WEFT_POD_OPEN_INBOUND, true, Goes::kPast},
        Row{"LoopedDown", kLoopback, kPod, "10.96.0.7", 0, true, Goes::kToNobody},
        Row{"Datagram", kEth0, "10.0.0.9", kPod, kUp, false, Goes::kPast, IPPROTO_UDP},
        // IPv6: the same by its own listeners.
        Row{"LoopedV6", kLoopback, kPodV6, "fd96::7", kUp, true, Goes::kOutbound},
        Row{"InnerLegV6", kLoopback, "fd00::9", kPodV6, kUp, true, Goes::kPast},
        Row{"LoopbackV6", kLoopback, "::1", "::1", kUp, true, Goes::kPast},
        Row{"PodToLoopbackV6", kLoopback, kPodV6, "::1", kUp, true, Goes::kPast},
        Row{"OtherOwnAddressV6", kLoopback, "fd50::1", "fd50::1", kUp, true, Goes::kPast},
        Row{"IncomingV6", kEth0, "fd00::9", kPodV6, kUp, true, Goes::kInbound},
        // On the pod's link, every other pod of the node may be: no reason to let it pass.
        Row{"IncomingLinkLocalV6", kEth0, "fe80::9", "fe80::2", kUp, true, Goes::kInbound},
        Row{"SelfV6", kEth0, kPodV6, kPodV6, kUp, true, Goes::kPast},
        Row{"SelfFromLoopbackV6", kEth0, "::1", kPodV6, kUp, true, Goes::kPast},
        Row{"IncomingWithoutListenerV6", kEth0, "fd00::9", kPodV6, kUp, false, Goes::kToNobody},
        // Queries: only what the rule looped, only to a resolver, only where it is asked for.
        Row{"Query", kLoopback, kPod, "10.96.0.10", kUpDns, true, Goes::kDns, IPPROTO_UDP,
            kDnsPort},
        Row{"QueryV6", kLoopback, kPodV6, "fd96::10", kUpDns, true, Goes::kDns, IPPROTO_UDP,
            kDnsPort},
        Row{"QueryToLinkLocal", kLoopback, kPod, "169.254.20.10", kUpDns, true, Goes::kDns,
            IPPROTO_UDP, kDnsPort},
        Row{"QueryNotAskedFor", kLoopback, kPod, "10.96.0.10", kUp, true, Goes::kPast, IPPROTO_UDP,
            kDnsPort},
        Row{"QueryToLoopback", kLoopback, "127.0.0.1", "127.0.0.53", kUpDns, true, Goes::kPast,
            IPPROTO_UDP, kDnsPort},
        Row{"QueryToLoopbackV6", kLoopback, "::1", "::1", kUpDns, true, Goes::kPast, IPPROTO_UDP,
            kDnsPort},
        Row{"QueryToItself", kLoopback, kPod, kPod, kUpDns, true, Goes::kPast, IPPROTO_UDP,
            kDnsPort},
        Row{"QueryFromOutside", kEth0, "10.0.0.9", kPod, kUpDns, true, Goes::kPast, IPPROTO_UDP,
            kDnsPort},
        Row{"DatagramToAnotherPort", kLoopback, kPod, "10.96.0.10", kUpDns, true, Goes::kPast,
            IPPROTO_UDP, 443},
        Row{"QueryWithoutSocket", kLoopback, kPod, "10.96.0.10", kUpDns, false, Goes::kToNobody,
            IPPROTO_UDP, kDnsPort}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace weft
