#include "agent/enrol/zds_packet.h"
#include "agent/enrol/zds_server.h"
#include "tests/unit/agent/enrol/fake_ztunnel.h"
#include "tests/unit/agent/enrol/loop_thread.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <set>

namespace weft::enrol {
namespace {

using testing::FakeZtunnel;
using ::testing::HasSubstr;

// What the server tells, and log lines, for the test's thread to wait for.
class Witness final : public ZdsServer::Observer {
 public:
  Witness() {
    log::set_sink([this](std::string_view line) { note(std::string(line)); });
  }
  ~Witness() override { log::set_sink(nullptr); }

  Result<void> ztunnel_arrived(pid_t pid) override {
    note("arrived " + std::to_string(pid));
    if (refuse_) return fail(Code::kRefused, "not this one");
    return {};
  }
  void ztunnel_left(pid_t) override { note("left"); }
  void pod_told(const std::string& uid) override { note("told " + uid); }

  void note(const std::string& line) {
    const std::scoped_lock lock(mutex_);
    notes_ += line + "\n";
    changed_.notify_all();
  }
  // Waits at most 5 s for a text to be noted, and takes everything that was.
  std::string wait_for(const std::string& text) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(5),
                      [&] { return notes_.find(text) != std::string::npos; });
    return std::exchange(notes_, "");
  }
  void refuse_all() { refuse_ = true; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string notes_;
  std::atomic<bool> refuse_ = false;
};

// Long enough for a peer that answers at once, also where the tests share two cores.
constexpr std::chrono::milliseconds kShort{1'000};

class ZdsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("h6-zds-" + std::to_string(getpid()));
    std::filesystem::create_directory(folder_);
    path_ = folder_ / "zds.sock";
    thread_.on_loop([this] {
      server_ = std::make_unique<ZdsServer>(
          thread_.loop(), path_, witness_,
          ZdsTiming{.hello = kShort, .acknowledgement = kShort, .refused_retry = kShort});
      ASSERT_TRUE(server_->listen());
      server_->set_complete();
      runs_.spawn(server_->run());
    });
  }

  void TearDown() override {
    thread_.on_loop([this] { server_->stop(); });
    thread_.run(runs_.join());
    thread_.on_loop([this] { server_.reset(); });
    std::filesystem::remove_all(folder_);
  }

  // Descriptors that can be told apart by what they are: three sockets and a file.
  std::shared_ptr<const AnnouncedPod> pod(const std::string& uid) {
    AnnouncedPod announced{.uid = uid,
                           .name = "users-0",
                           .ns = "shop",
                           .service_account = "users",
                           .netns = Fd(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)),
                           .listeners = {},
                           .answers_dns = true};
    for (const weft_listener kind :
         {WEFT_LISTENER_INBOUND_V4, WEFT_LISTENER_OUTBOUND_V4, WEFT_LISTENER_DNS_V6}) {
      announced.listeners[kind] = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    }
    return std::make_shared<const AnnouncedPod>(std::move(announced));
  }
  void announce(std::shared_ptr<const AnnouncedPod> announced) {
    thread_.on_loop([&] { server_->announce(announced); });
  }
  void retire(const std::string& uid) {
    thread_.on_loop([&] { server_->retire(uid); });
  }
  bool is_acked(const std::string& uid) {
    return thread_.on_loop([&] { return server_->is_acked(uid); });
  }
  bool is_known(const std::string& uid) {
    return thread_.on_loop([&] { return server_->is_known(uid); });
  }

  Witness witness_;
  std::filesystem::path folder_;
  std::string path_;
  std::unique_ptr<ZdsServer> server_;
  runtime::TaskScope runs_;
  testing::LoopThread thread_;
};

bool is_same_file(int one, int other) {
  struct stat a{};
  struct stat b{};
  return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_ino == b.st_ino &&
         a.st_dev == b.st_dev;
}

TEST_F(ZdsTest, SocketIsForItsOwnerAlone) {
  struct stat status{};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(ZdsTest, PlainHelloGetsPlainMessages) {
  const auto announced = pod("u-1");
  announce(announced);
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kPlainHello);
  const auto add = ztunnel.next();
  ASSERT_TRUE(add);
  // Field by field, as Istio's zds.proto numbers them.
  EXPECT_EQ(add->request.SerializeAsString(),
            "\x0a\x1d\x0a\x03u-1\x12\x16\x0a\x07users-0\x12\x04shop\x1a\x05users");
  ASSERT_EQ(add->descriptors.size(), 1u);
  EXPECT_TRUE(is_same_file(add->descriptors[0].get(), announced->netns.get()));
  ztunnel.ack();
  const auto snapshot = ztunnel.next();
  ASSERT_TRUE(snapshot);
  EXPECT_TRUE(snapshot->request.has_snapshot_sent());
  ztunnel.ack();
  EXPECT_THAT(witness_.wait_for("told u-1"), HasSubstr("told u-1"));
  EXPECT_TRUE(is_acked("u-1"));
}

TEST_F(ZdsTest, OurHelloGetsListenersBehindTheNetns) {
  const auto announced = pod("u-1");
  announce(announced);
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kHelloForListeners);
  const auto add = ztunnel.next();
  ASSERT_TRUE(add);
  ASSERT_EQ(add->request.add().listeners_size(), 3);
  EXPECT_EQ(add->request.add().listeners(0), istio::workload::zds::INBOUND_V4);
  EXPECT_EQ(add->request.add().listeners(1), istio::workload::zds::OUTBOUND_V4);
  EXPECT_EQ(add->request.add().listeners(2), istio::workload::zds::DNS_V6);
  ASSERT_EQ(add->descriptors.size(), 4u);
  EXPECT_TRUE(is_same_file(add->descriptors[0].get(), announced->netns.get()));
  const Listeners& listeners = announced->listeners;
  EXPECT_TRUE(is_same_file(add->descriptors[1].get(), listeners[WEFT_LISTENER_INBOUND_V4].get()));
  EXPECT_TRUE(is_same_file(add->descriptors[2].get(), listeners[WEFT_LISTENER_OUTBOUND_V4].get()));
  EXPECT_TRUE(is_same_file(add->descriptors[3].get(), listeners[WEFT_LISTENER_DNS_V6].get()));
}

TEST_F(ZdsTest, PodsThatComeAndGoAreToldOneAtATime) {
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kPlainHello);
  ASSERT_TRUE(ztunnel.next()->request.has_snapshot_sent());
  announce(pod("u-1"));
  announce(pod("u-2"));
  ztunnel.ack();
  const auto first = ztunnel.next();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->request.add().uid(), "u-1");
  EXPECT_FALSE(is_acked("u-1"));
  ztunnel.ack();
  EXPECT_EQ(ztunnel.next()->request.add().uid(), "u-2");
  ztunnel.ack();
  witness_.wait_for("told u-2");

  retire("u-1");
  EXPECT_TRUE(is_known("u-1"));
  EXPECT_EQ(ztunnel.next()->request.del().uid(), "u-1");
  EXPECT_FALSE(is_acked("u-1"));
  ztunnel.ack();
  witness_.wait_for("told u-1");
  EXPECT_FALSE(is_known("u-1"));
}

TEST_F(ZdsTest, AnnouncedAnewIsDeletedAndAdded) {
  announce(pod("u-1"));
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kPlainHello);
  ASSERT_TRUE(ztunnel.next()->request.has_add());
  ztunnel.ack();
  ASSERT_TRUE(ztunnel.next()->request.has_snapshot_sent());
  ztunnel.ack();
  announce(pod("u-1"));
  EXPECT_FALSE(is_acked("u-1"));
  EXPECT_TRUE(ztunnel.next()->request.has_del());
  ztunnel.ack();
  EXPECT_TRUE(ztunnel.next()->request.has_add());
}

TEST_F(ZdsTest, SecondZtunnelIsToldEverythingBesideTheFirst) {
  announce(pod("u-1"));
  FakeZtunnel older(path_);
  older.say(testing::kPlainHello);
  ASSERT_TRUE(older.next()->request.has_add());
  older.ack();
  FakeZtunnel newer(path_);
  newer.say(testing::kHelloForListeners);
  const auto add = newer.next();
  ASSERT_TRUE(add);
  EXPECT_EQ(add->descriptors.size(), 4u);
  newer.ack();
  witness_.wait_for("told u-1");
  EXPECT_EQ(thread_.on_loop([&] { return server_->ztunnels().size(); }), 2u);
}

TEST_F(ZdsTest, RefusedPodIsLoggedAndNotAcked) {
  announce(pod("u-1"));
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kPlainHello);
  ASSERT_TRUE(ztunnel.next()->request.has_add());
  ztunnel.ack("cannot bind\nforged line");
  ASSERT_TRUE(ztunnel.next()->request.has_snapshot_sent()) << "the others go on";
  const std::string log = witness_.wait_for("told u-1");
  EXPECT_THAT(log, HasSubstr("ztunnel refused a pod"));
  EXPECT_THAT(log, HasSubstr("cannot bind\\u000aforged line"));
  EXPECT_FALSE(is_acked("u-1"));
  EXPECT_THAT(thread_.on_loop([&] { return server_->ztunnels().at(0).last_refusal; }),
              HasSubstr("cannot bind"));
  ztunnel.ack();
  const auto again = ztunnel.next();
  ASSERT_TRUE(again) << "tried again later";
  EXPECT_TRUE(again->request.has_add());
}

TEST_F(ZdsTest, ParkedMemfdGoesToTheNextOneThatAsks) {
  const Fd memfd(memfd_create("parked", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(write(memfd.get(), "keys", 4), 4);
  ASSERT_EQ(fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
  {
    FakeZtunnel first(path_);
    first.say(testing::kHelloForParking);
    ASSERT_TRUE(first.next()->request.has_snapshot_sent()) << "nothing is parked yet";
    istio::workload::zds::WorkloadResponse park;
    park.mutable_park();
    first.say_with(park.SerializeAsString(), memfd.get());
    first.ack();
    // A pod that is acknowledged behind it proves that the parked one was taken.
    announce(pod("u-1"));
    ASSERT_TRUE(first.next()->request.has_add());
    first.ack();
    witness_.wait_for("told u-1");
  }
  witness_.wait_for("left");
  FakeZtunnel plain(path_);
  plain.say(testing::kPlainHello);
  EXPECT_TRUE(plain.next()->request.has_add()) << "who does not ask gets none";
  FakeZtunnel second(path_);
  second.say(testing::kHelloForParking);
  const auto parked = second.next();
  ASSERT_TRUE(parked);
  EXPECT_TRUE(parked->request.has_parked());
  ASSERT_EQ(parked->descriptors.size(), 1u);
  EXPECT_TRUE(is_same_file(parked->descriptors[0].get(), memfd.get()));
  EXPECT_TRUE(second.next()->request.has_add()) << "not acknowledged";
}

TEST_F(ZdsTest, UnsealedMemfdEndsTheConnection) {
  const Fd memfd(memfd_create("parked", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kHelloForParking);
  ASSERT_TRUE(ztunnel.next()->request.has_snapshot_sent());
  istio::workload::zds::WorkloadResponse park;
  park.mutable_park();
  ztunnel.say_with(park.SerializeAsString(), memfd.get());
  EXPECT_TRUE(ztunnel.is_closed());
  EXPECT_THAT(witness_.wait_for("left"), HasSubstr("sealed"));
}

struct BadHello {
  const char* name;
  std::string bytes;
  const char* logged;
};

class BadHelloTest : public ZdsTest, public ::testing::WithParamInterface<BadHello> {};

TEST_P(BadHelloTest, IsRefusedWithALogLine) {
  announce(pod("u-1"));
  FakeZtunnel ztunnel(path_);
  ztunnel.say(GetParam().bytes);
  EXPECT_TRUE(ztunnel.is_closed());
  EXPECT_THAT(witness_.wait_for("closing the connection"), HasSubstr(GetParam().logged));
  FakeZtunnel good(path_);
  good.say(testing::kPlainHello);
  EXPECT_TRUE(good.next()->request.has_add()) << "the server goes on";
}

INSTANTIATE_TEST_SUITE_P(
    Zds, BadHelloTest,
    ::testing::Values(
        BadHello{"Malformed", "\xff\xff\xff", "expected an istio.workload.zds.ZdsHello"},
        BadHello{"NoVersion", std::string("\x08\x00", 2), "version 0, expected V1"},
        BadHello{"OtherVersion", std::string("\x08\x02", 2), "version 2, expected V1"},
        BadHello{"TooLong", std::string(5000, '\x08'), "longer than 4096 bytes"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(ZdsTest, WhoIsNotAdmittedIsToldNothing) {
  witness_.refuse_all();
  announce(pod("u-1"));
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kPlainHello);
  EXPECT_TRUE(ztunnel.is_closed());
  EXPECT_THAT(witness_.wait_for("closing"), HasSubstr("not this one"));
}

TEST_F(ZdsTest, AcknowledgementOfNothingEndsTheConnection) {
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kPlainHello);
  ASSERT_TRUE(ztunnel.next());
  ztunnel.ack();
  ztunnel.ack();
  EXPECT_TRUE(ztunnel.is_closed());
  EXPECT_THAT(witness_.wait_for("left"), HasSubstr("acknowledgement of nothing"));
}

TEST_F(ZdsTest, SilentPeerIsClosed) {
  FakeZtunnel ztunnel(path_);
  EXPECT_TRUE(ztunnel.is_closed());
  EXPECT_THAT(witness_.wait_for("closing"), HasSubstr("no hello came in time"));
}

TEST_F(ZdsTest, PeerThatDoesNotAcknowledgeIsClosed) {
  announce(pod("u-1"));
  FakeZtunnel ztunnel(path_);
  ztunnel.say(testing::kPlainHello);
  ASSERT_TRUE(ztunnel.next()->request.has_add());
  EXPECT_TRUE(is_known("u-1"));
  EXPECT_TRUE(ztunnel.is_closed());
  EXPECT_THAT(witness_.wait_for("left"), HasSubstr("no acknowledgement came in time"));
  EXPECT_FALSE(is_known("u-1")) << "who is gone holds nothing";
}

TEST_F(ZdsTest, ConnectionsBeyondTheBoundAreClosed) {
  std::vector<std::unique_ptr<FakeZtunnel>> open;
  for (int i = 0; i < 8; ++i) {
    open.push_back(std::make_unique<FakeZtunnel>(path_));
    open.back()->say(testing::kPlainHello);
    ASSERT_TRUE(open.back()->next());
  }
  FakeZtunnel ninth(path_);
  EXPECT_TRUE(ninth.is_closed());
  EXPECT_THAT(witness_.wait_for("too many"), HasSubstr("too many ztunnels"));
}

TEST_F(ZdsTest, SecondAgentOnTheSameSocketIsRefused) {
  const auto listened = thread_.on_loop([this] {
    ZdsServer second(thread_.loop(), path_, witness_);
    return second.listen();
  });
  ASSERT_FALSE(listened);
  EXPECT_THAT(listened.error().to_string(), HasSubstr("another agent serves"));
}

TEST(ZdsSnapshot, IsNotSentBeforeEverythingWasAnnounced) {
  Witness witness;
  const std::string path =
      std::filesystem::temp_directory_path() / ("h6-zds-" + std::to_string(getpid()) + ".sock");
  testing::LoopThread thread;
  std::unique_ptr<ZdsServer> server;
  runtime::TaskScope runs;
  thread.on_loop([&] {
    server = std::make_unique<ZdsServer>(thread.loop(), path, witness);
    ASSERT_TRUE(server->listen());
    runs.spawn(server->run());
  });
  FakeZtunnel ztunnel(path);
  ztunnel.say(testing::kPlainHello);
  witness.wait_for("ztunnel connected");
  thread.on_loop([&] {
    EXPECT_FALSE(server->ztunnels().at(0).snapshot_sent);
    server->set_complete();
  });
  EXPECT_TRUE(ztunnel.next()->request.has_snapshot_sent());
  thread.on_loop([&] { server->stop(); });
  thread.run(runs.join());
  thread.on_loop([&] { server.reset(); });
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".lock");
}

}  // namespace
}  // namespace weft::enrol
