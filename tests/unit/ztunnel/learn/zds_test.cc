// The node agent's side of learning: what a packet may hold, which pods there are, and whole
// conversations with an agent over a real socket.
#include "tests/support/backends.h"
#include "tests/support/run_task.h"
#include "tests/unit/ztunnel/learn/eventually.h"
#include "tests/unit/ztunnel/learn/fake_agent.h"
#include "ztunnel/learn/zds_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <filesystem>
#include <thread>

namespace weft::learn {
namespace {

namespace pb = istio::workload::zds;
using runtime::Task;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace weft::learn::testing;

Packet packet(const pb::WorkloadRequest& request, std::vector<Fd> fds) {
  return {request.SerializeAsString(), std::move(fds), false};
}

pb::WorkloadRequest add_request(const std::string& uid = "u") {
  pb::WorkloadRequest request;
  auto& add = *request.mutable_add();
  add.set_uid(uid);
  add.mutable_workload_info()->set_name("a");
  add.mutable_workload_info()->set_namespace_("shop");
  add.mutable_workload_info()->set_service_account("sa");
  add.set_answers_dns(true);
  add.add_listeners(pb::OUTBOUND_V4);
  add.add_listeners(pb::INBOUND_V4);
  return request;
}

std::vector<Fd> descriptors() {
  std::vector<Fd> fds;
  fds.push_back(own_netns());
  fds.push_back(listening_socket());
  fds.push_back(listening_socket());
  return fds;
}

size_t open_descriptors() {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                           std::filesystem::directory_iterator()));
}

TEST(ZdsMessageTest, TakesDescriptorsInTheOrderOfTheListeners) {
  auto fds = descriptors();
  const int outbound = fds[1].get();
  const int inbound = fds[2].get();
  auto decoded = decode_zds(packet(add_request(), std::move(fds)));
  ASSERT_TRUE(decoded) << decoded.error().to_string();
  const auto pod = std::get<AddPod>(*decoded).pod;
  EXPECT_EQ(pod->listener(ListenerKind::kOutboundV4).get(), outbound);
  EXPECT_EQ(pod->listener(ListenerKind::kInboundV4).get(), inbound);
  EXPECT_NE(fcntl(inbound, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(pod->name + "/" + pod->ns + "/" + pod->service_account, "a/shop/sa");
  EXPECT_TRUE(pod->answers_dns);
}

TEST(ZdsMessageTest, RefusesWhatIsWrongAndClosesItsDescriptors) {
  const size_t before = open_descriptors();
  const auto error = [](const pb::WorkloadRequest& request, std::vector<Fd> fds) {
    const auto decoded = decode_zds(packet(request, std::move(fds)));
    return decoded ? std::string("accepted") : decoded.error().to_string();
  };
  auto request = add_request();
  auto fds = descriptors();
  fds.pop_back();
  EXPECT_THAT(error(request, std::move(fds)), HasSubstr("expected 3 descriptors"));
  fds = descriptors();
  fds.push_back(listening_socket());
  EXPECT_THAT(error(request, std::move(fds)), HasSubstr("got 4"));
  fds = descriptors();
  std::swap(fds[0], fds[1]);
  EXPECT_THAT(error(request, std::move(fds)), HasSubstr("not a network namespace"));
  fds = descriptors();
  fds[2] = own_netns();
  EXPECT_THAT(error(request, std::move(fds)), HasSubstr("not a listening socket"));
  request.mutable_add()->set_listeners(1, pb::OUTBOUND_V4);
  EXPECT_THAT(error(request, descriptors()), HasSubstr("OUTBOUND_V4 is named twice"));
  request.mutable_add()->set_listeners(1, static_cast<pb::Listener>(77));
  EXPECT_THAT(error(request, descriptors()), HasSubstr("kind 77 is unknown"));
  request.mutable_add()->mutable_listeners()->RemoveLast();
  fds = descriptors();
  fds.pop_back();
  EXPECT_THAT(error(request, std::move(fds)), HasSubstr("at least INBOUND_V4 and OUTBOUND_V4"));
  request.mutable_add()->clear_listeners();
  EXPECT_THAT(error(request, descriptors()), HasSubstr("expected 1 descriptors"));
  EXPECT_THAT(error(add_request(""), descriptors()), HasSubstr("uid: expected 1 to 256"));
  EXPECT_THAT(error(add_request(std::string(257, 'x')), descriptors()), HasSubstr("uid"));
  request = add_request();
  request.mutable_add()->mutable_workload_info()->clear_service_account();
  EXPECT_THAT(error(request, descriptors()), HasSubstr("service_account"));
  pb::WorkloadRequest parked;
  parked.mutable_parked();
  EXPECT_THAT(error(parked, {}), HasSubstr("Parked: expected one descriptor"));
  pb::WorkloadRequest del;
  del.mutable_del()->set_uid("u");
  EXPECT_THAT(error(del, descriptors()), HasSubstr("descriptors with a message that has none"));
  EXPECT_THAT(error({}, {}), HasSubstr("unknown to this version"));
  EXPECT_THAT(decode_zds({"\xff\xff", {}, false}).error().to_string(), HasSubstr("not a Work"));
  EXPECT_THAT(decode_zds({"", {}, true}).error().to_string(), HasSubstr("more bytes"));
  EXPECT_EQ(open_descriptors(), before);
}

TEST(ZdsMessageTest, TakesSocketsOfEachKindAndRefusesTheWrongKindOfSocket) {
  const auto decode = [](pb::Listener kind, Fd socket) {
    auto request = add_request();
    request.mutable_add()->add_listeners(kind);
    auto fds = descriptors();
    fds.push_back(std::move(socket));
    return decode_zds(packet(request, std::move(fds)));
  };
  const auto error = [&](pb::Listener kind, Fd socket) {
    const auto decoded = decode(kind, std::move(socket));
    return decoded ? std::string("accepted") : decoded.error().to_string();
  };
  const auto datagrams = [](int family) {
    return Fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  };
  const auto listening_v6 = [] {
    Fd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  };
  const auto dns = decode(pb::DNS_V4, datagrams(AF_INET));
  ASSERT_TRUE(dns) << dns.error().to_string();
  const auto pod = std::get<AddPod>(*dns).pod;
  EXPECT_TRUE(pod->listener(ListenerKind::kDnsV4));
  EXPECT_NE(fcntl(pod->listener(ListenerKind::kDnsV4).get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_FALSE(pod->listener(ListenerKind::kInboundV6));
  EXPECT_EQ(error(pb::DNS_V6, datagrams(AF_INET6)), "accepted");
  EXPECT_EQ(error(pb::INBOUND_V6, listening_v6()), "accepted");
  EXPECT_EQ(error(pb::OUTBOUND_V6, listening_v6()), "accepted");
  EXPECT_THAT(error(pb::DNS_V4, listening_socket()), HasSubstr("not a datagram socket"));
  EXPECT_THAT(error(pb::OUTBOUND_V6, datagrams(AF_INET6)), HasSubstr("not a listening socket"));
  EXPECT_THAT(error(pb::DNS_V6, datagrams(AF_INET)), HasSubstr("not a socket of IPv6"));
  EXPECT_THAT(error(pb::INBOUND_V6, listening_socket()), HasSubstr("not a socket of IPv6"));
}

struct RecordingSink final : PodSink {
  void pod_added(std::shared_ptr<const Pod> pod) override {
    events.push_back("+" + pod->uid);
    last = std::move(pod);
  }
  void pod_removed(std::shared_ptr<const Pod> pod) override { events.push_back("-" + pod->uid); }
  std::vector<std::string> take() { return std::exchange(events, {}); }

  std::vector<std::string> events;
  std::shared_ptr<const Pod> last;
};

std::shared_ptr<Pod> pod(const std::string& uid) {
  auto result = std::make_shared<Pod>();
  result->uid = uid;
  result->name = "a";
  result->ns = "shop";
  result->service_account = "sa";
  result->netns = own_netns();
  result->listener(ListenerKind::kInboundV4) = listening_socket();
  result->listener(ListenerKind::kOutboundV4) = listening_socket();
  return result;
}

Fd copy_of(const Fd& fd) { return Fd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

TEST(PodTableTest, SnapshotDropsWhatItDoesNotName) {
  RecordingSink sink;
  PodTable table(sink);
  table.begin_snapshot();
  const auto a = pod("a");
  EXPECT_TRUE(table.add(a));
  EXPECT_TRUE(table.add(pod("b")));
  EXPECT_TRUE(table.add(pod("c")));
  table.end_snapshot();
  EXPECT_THAT(sink.take(), ElementsAre("+a", "+b", "+c"));

  table.begin_snapshot();  // a new connection
  EXPECT_TRUE(table.add(a));
  EXPECT_TRUE(table.keep("c"));
  EXPECT_EQ(table.keep("never").error().code, Code::kNotFound);
  table.remove("never");
  EXPECT_THAT(sink.take(), IsEmpty());
  table.end_snapshot();
  EXPECT_THAT(sink.take(), ElementsAre("-b"));
  EXPECT_EQ(table.size(), 2U);
}

TEST(PodTableTest, APodThatIsNamedAgain) {
  RecordingSink sink;
  PodTable table(sink);
  const auto first = pod("a");
  EXPECT_TRUE(table.add(first));
  EXPECT_THAT(sink.take(), ElementsAre("+a"));

  // Copies of the same sockets: the agent only lost the connection.
  auto same = pod("a");
  same->listener(ListenerKind::kInboundV4) = copy_of(first->listener(ListenerKind::kInboundV4));
  same->listener(ListenerKind::kOutboundV4) = copy_of(first->listener(ListenerKind::kOutboundV4));
  EXPECT_TRUE(table.add(same));
  EXPECT_THAT(sink.take(), IsEmpty());

  // The same sockets, to be served in another way.
  auto dns = pod("a");
  dns->listeners[0] = copy_of(first->listeners[0]);
  dns->listeners[1] = copy_of(first->listeners[1]);
  dns->answers_dns = true;
  EXPECT_TRUE(table.add(dns));
  EXPECT_THAT(sink.take(), ElementsAre("+a"));

  // The same ones and one more, or one less: another set.
  auto more = pod("a");
  more->listeners[0] = copy_of(first->listeners[0]);
  more->listeners[1] = copy_of(first->listeners[1]);
  more->listener(ListenerKind::kDnsV4) = own_netns();
  EXPECT_TRUE(table.add(more));
  EXPECT_THAT(sink.take(), ElementsAre("+a"));
  EXPECT_TRUE(table.add(first));
  EXPECT_THAT(sink.take(), ElementsAre("+a"));

  // Other listeners in the same netns: taken over, the first is not removed.
  const auto restarted = pod("a");
  EXPECT_TRUE(table.add(restarted));
  EXPECT_THAT(sink.take(), ElementsAre("+a"));
  EXPECT_EQ(sink.last, restarted);

  // Another netns (here: anything that is another file): a new sandbox.
  const auto elsewhere = pod("a");
  elsewhere->netns = listening_socket();
  EXPECT_TRUE(table.add(elsewhere));
  EXPECT_THAT(sink.take(), ElementsAre("-a", "+a"));

  const auto renamed = pod("a");
  renamed->netns = copy_of(elsewhere->netns);
  renamed->service_account = "other";
  EXPECT_TRUE(table.add(renamed));
  EXPECT_THAT(sink.take(), ElementsAre("-a", "+a"));
}

struct RecordingZdsSink final : ZdsSink {
  void unparked(Fd memfd) override { memory = std::move(memfd); }
  void parking_offered() override { ++offered; }
  void agent_synced() override { ++synced; }
  void agent_lost(const Error& error) override { lost.push_back(error.to_string()); }

  Fd memory;
  int offered = 0;
  int synced = 0;
  std::vector<std::string> lost;
};

class ZdsClientTest : public ::testing::TestWithParam<runtime::Backend> {
 protected:
  void SetUp() override {
    auto loop = runtime::Loop::create(GetParam());
    if (!loop) GTEST_SKIP() << loop.error().to_string();
    loop_ = std::move(*loop);
    std::string pattern = ::testing::TempDir() + "weft-zds-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/zds.sock";
    client_ = std::make_unique<ZdsClient>(*loop_, path_, pods_, sink_, [] { return 0.5; });
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  Task<void> until_told() {
    runtime::TaskScope scope;
    scope.spawn(client_->run());
    CO_ASSERT_TRUE(co_await eventually(*loop_, [this] { return agent_done_.load(); }));
    client_->stop();
    co_await scope.join();
  }
  // Runs the client here and `agent` on a thread of its own, until the agent has ended.
  void with_agent(std::function<void()> agent) {
    std::thread thread([&] {
      agent();
      agent_done_ = true;
    });
    weft::testing::run(*loop_, until_told());
    thread.join();
  }
  // Runs on the loop's thread and waits for it.
  template <class Call>
  void on_loop(Call call) {
    std::atomic<bool> done = false;
    loop_->post([&] {
      call();
      done = true;
    });
    while (!done) std::this_thread::yield();
  }

  std::unique_ptr<runtime::Loop> loop_;
  std::string folder_;
  std::string path_;
  RecordingSink pod_sink_;
  RecordingZdsSink sink_;
  PodTable pods_{pod_sink_};
  std::unique_ptr<ZdsClient> client_;
  std::atomic<bool> agent_done_ = false;
};

TEST_P(ZdsClientTest, OneConversation) {
  FakeAgent agent(path_);
  with_agent([&] {
    agent.accept();
    EXPECT_TRUE(agent.hello.wants_listeners());
    EXPECT_TRUE(agent.hello.wants_parking());
    EXPECT_EQ(agent.hello.version(), pb::V1);
    const Fd netns = own_netns();
    const Fd in = listening_socket();
    const Fd out = listening_socket();
    agent.add_pod("u1", "a", "sa", netns.get(), in.get(), out.get());
    EXPECT_EQ(agent.receive_ack(), "");
    agent.send(add_request("u2"), {netns.get(), in.get()});
    EXPECT_THAT(agent.receive_ack(), HasSubstr("expected 3 descriptors"));
    agent.send(add_request("u2"), std::vector<int>(20, netns.get()));
    EXPECT_THAT(agent.receive_ack(), HasSubstr("more bytes or descriptors"));
    agent.send_bytes("\xff\xff");
    EXPECT_THAT(agent.receive_ack(), HasSubstr("not a WorkloadRequest"));
    agent.send_bytes(std::string(SeqpacketSocket::kPacketBytesMax + 1, 'x'));
    EXPECT_THAT(agent.receive_ack(), HasSubstr("more bytes or descriptors"));
    pb::WorkloadRequest keep;
    keep.mutable_keep()->set_uid("u9");
    agent.send(keep);
    EXPECT_THAT(agent.receive_ack(), HasSubstr("no pod u9"));
    agent.snapshot_sent();
    EXPECT_EQ(agent.receive_ack(), "");
    pb::WorkloadRequest del;
    del.mutable_del()->set_uid("u1");
    agent.send(del);
    EXPECT_EQ(agent.receive_ack(), "");
  });
  EXPECT_EQ(sink_.synced, 1);
  EXPECT_EQ(sink_.offered, 1);
  EXPECT_THAT(pod_sink_.take(), ElementsAre("+u1", "-u1"));
}

TEST_P(ZdsClientTest, PodsStayWhileTheAgentIsAwayAndAreReconciledWhenItIsBack) {
  FakeAgent agent(path_);
  with_agent([&] {
    agent.accept();
    const Fd netns = own_netns();
    const Fd in = listening_socket();
    const Fd out = listening_socket();
    for (const char* uid : {"u1", "u2"}) {
      agent.add_pod(uid, uid, "sa", netns.get(), in.get(), out.get());
      EXPECT_EQ(agent.receive_ack(), "");
    }
    agent.snapshot_sent();
    EXPECT_EQ(agent.receive_ack(), "");
    agent.disconnect();
    agent.accept();
    on_loop([&] { EXPECT_EQ(pods_.size(), 2U); });
    agent.add_pod("u2", "u2", "sa", netns.get(), in.get(), out.get());
    EXPECT_EQ(agent.receive_ack(), "");
    agent.snapshot_sent();
    EXPECT_EQ(agent.receive_ack(), "");
  });
  EXPECT_THAT(pod_sink_.take(), ElementsAre("+u1", "+u2", "-u1"));
  ASSERT_EQ(sink_.lost.size(), 1U);
  EXPECT_THAT(sink_.lost[0], HasSubstr("closed the connection"));
  EXPECT_EQ(sink_.synced, 2);
}

TEST_P(ZdsClientTest, ParksOnlyWithAnAgentThatTakesIt) {
  FakeAgent agent(path_);
  const auto park_something = [&](const char* content) {
    on_loop([&] {
      Fd memfd(memfd_create("test", MFD_CLOEXEC));
      EXPECT_GT(write(memfd.get(), content, 3), 0);
      client_->park(std::move(memfd));
    });
  };
  const auto content = [](const Fd& fd) {
    char text[3] = {};
    return pread(fd.get(), text, 3, 0) == 3 ? std::string(text, 3) : "";
  };
  with_agent([&] {
    agent.accept();
    park_something("one");  // an agent of Istio's would not understand
    agent.snapshot_sent();
    EXPECT_EQ(agent.receive_ack(), "");
    EXPECT_FALSE(agent.parked);
    const Fd memory(memfd_create("test", MFD_CLOEXEC));
    pb::WorkloadRequest request;
    request.mutable_parked();
    agent.send(request, {memory.get()});
    agent.snapshot_sent();
    EXPECT_EQ(agent.receive_ack(), "");
    park_something("two");
    const auto response = agent.receive();
    ASSERT_TRUE(response);
    EXPECT_TRUE(response->message.has_park());
    EXPECT_EQ(content(response->fd), "two");
    // More than the queue holds: the latest arrives in the end.
    on_loop([&] {
      for (int i = 0; i < 100; ++i) {
        Fd memfd(memfd_create("test", MFD_CLOEXEC));
        EXPECT_GT(write(memfd.get(), i == 99 ? "end" : "mid", 3), 0);
        client_->park(std::move(memfd));
      }
    });
    std::string last;
    while (last != "end") {
      const auto next = agent.receive();
      ASSERT_TRUE(next);
      last = content(next->fd);
    }
  });
  EXPECT_TRUE(sink_.memory);
  EXPECT_EQ(sink_.offered, 1);
}

TEST_P(ZdsClientTest, WaitsForAnAgentThatIsNotThereYet) {
  std::unique_ptr<FakeAgent> agent;
  with_agent([&] {
    while (true) {
      bool lost = false;
      on_loop([&] { lost = sink_.lost.size() >= 2; });
      if (lost) break;
    }
    agent = std::make_unique<FakeAgent>(path_);
    agent->accept();
  });
  EXPECT_THAT(sink_.lost[0], HasSubstr("connecting to the node agent at " + path_));
}

BOTH_BACKENDS(ZdsClientTest);

}  // namespace
}  // namespace weft::learn
