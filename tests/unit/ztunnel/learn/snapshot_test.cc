#include "ztunnel/learn/snapshot.h"

#include "tests/support/run_task.h"
#include "tests/unit/ztunnel/learn/builders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace weft::learn {
namespace {

using ::testing::HasSubstr;
using namespace weft::learn::testing;

class Snapshot : public ::testing::Test {
 protected:
  Snapshot() {
    std::string pattern = ::testing::TempDir() + "weft-snapshot-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/snapshot";
  }
  ~Snapshot() override { std::filesystem::remove_all(folder_); }

  static Result<void> write(const std::string& path, SnapshotContent content) {
    auto loop = runtime::Loop::create(runtime::Backend::kEpoll);
    return weft::testing::run(**loop, write_snapshot(**loop, path, std::move(content)));
  }

  std::string folder_;
  std::string path_;
  StateBuilder builder_{"Kubernetes"};
};

std::vector<DeltaResponse> good_responses(const std::string& bytes) {
  auto decoded = decode_snapshot(bytes);
  EXPECT_TRUE(decoded);
  return *decoded;
}

StateBuilder filled() {
  StateBuilder builder("Kubernetes");
  DeltaResponse response = addresses();
  add_pod(response, "a", 1, "", "v7");
  builder.apply(response);
  DeltaResponse policies = authorizations();
  add_policy(policies, "deny", "action: DENY rules {}", "v8");
  // One that is wrong: it must deny after a restore too.
  add_policy(policies, "bad",
             "rules { clauses { matches { destination_ports: 99999 } } } scope: NAMESPACE", "v9");
  EXPECT_EQ(builder.apply(policies).size(), 1U);
  return builder;
}

SnapshotContent content_of(const StateBuilder& builder) {
  return {builder.resources(kAuthorizationType), builder.resources(kAddressType)};
}

TEST_F(Snapshot, RestoresWhatItKept) {
  const StateBuilder original = filled();
  ASSERT_TRUE(write(path_, content_of(original)));
  struct stat status{};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));

  const auto responses = read_snapshot(path_);
  ASSERT_TRUE(responses) << responses.error().to_string();
  for (const auto& response : *responses) builder_.apply(response);
  const auto state = builder_.publish();
  EXPECT_TRUE(state->data().complete());
  EXPECT_NE(state->workload_of_pod("shop", "a"), nullptr);
  EXPECT_EQ(builder_.versions(kAddressType), original.versions(kAddressType));
  EXPECT_EQ(builder_.versions(kAuthorizationType), original.versions(kAuthorizationType));
  EXPECT_EQ(state->data().policies.size(), 2U) << "the wrong one denies in its scope again";
  EXPECT_EQ(state->data().namespace_policies.at("shop").size(), 1U);
}

TEST_F(Snapshot, EmptyIsCompleteToo) {
  const auto bytes = encode_snapshot({});
  ASSERT_TRUE(bytes);
  for (const auto& response : good_responses(*bytes)) builder_.apply(response);
  EXPECT_TRUE(builder_.publish()->data().complete());
}

TEST_F(Snapshot, DamageIsNoticed) {
  const std::string good = *encode_snapshot(content_of(filled()));
  const auto error = [](const std::string& bytes) {
    const auto decoded = decode_snapshot(bytes);
    return decoded ? std::string("accepted") : decoded.error().to_string();
  };
  EXPECT_THAT(error(""), HasSubstr("not a snapshot"));
  EXPECT_THAT(error("weft-snapshot 2\n" + good.substr(16)), HasSubstr("not a snapshot"));
  for (size_t length = 0; length < good.size(); length += 7) {
    EXPECT_NE(error(good.substr(0, length)), "accepted") << length;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_NE(error(flipped), "accepted") << at;
  }
  EXPECT_THAT(error(good + "x"), HasSubstr("checksum"));
}

TEST_F(Snapshot, FilesThatAreNoSnapshot) {
  EXPECT_EQ(read_snapshot(folder_ + "/nothing").error().code, Code::kNotFound);
  EXPECT_FALSE(read_snapshot(folder_)) << "a folder";
  std::ofstream(path_) << "hello";
  EXPECT_EQ(read_snapshot(path_).error().code, Code::kInvalid);
  EXPECT_FALSE(write(folder_ + "/no/such/folder/snapshot", {}));
}

// A disk that is full is a log line, and the old file stays.
TEST_F(Snapshot, ADiskThatIsFullLeavesTheOldOne) {
  const StateBuilder original = filled();
  ASSERT_TRUE(write(path_, content_of(original)));
  ASSERT_EQ(symlink("/dev/full", (path_ + ".tmp").c_str()), 0);
  const auto written = write(path_, content_of(original));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, Code::kLimit) << written.error().to_string();
  EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));
  EXPECT_TRUE(read_snapshot(path_));
}

runtime::Task<void> change_and_stop(runtime::Loop& loop, SnapshotKeeper& keeper,
                                    const std::string& path, int& sources) {
  // A policy and, a moment later, the workload that names it: one write.
  keeper.changed();
  co_await loop.sleep(std::chrono::milliseconds(1));
  keeper.changed();
  while (!std::filesystem::exists(path)) co_await loop.sleep(std::chrono::milliseconds(1));
  EXPECT_EQ(sources, 1);
  // Many changes within the interval are one write, and it is made when we stop.
  for (int i = 0; i < 100; ++i) keeper.changed();
  keeper.stop();
}

runtime::Task<void> run_keeper(runtime::Loop& loop, SnapshotKeeper& keeper, const std::string& path,
                               int& sources) {
  runtime::TaskScope scope;
  scope.spawn(keeper.run());
  scope.spawn(change_and_stop(loop, keeper, path, sources));
  co_await scope.join();
}

TEST_F(Snapshot, KeeperWritesWhatComesTogetherAndNotMoreOftenThanItsInterval) {
  for (const auto backend : {runtime::Backend::kEpoll, runtime::Backend::kUring}) {
    auto loop = runtime::Loop::create(backend);
    if (!loop) continue;
    std::filesystem::remove(path_);
    const StateBuilder builder = filled();
    int sources = 0;
    SnapshotKeeper keeper(
        **loop, path_,
        [&] {
          ++sources;
          return content_of(builder);
        },
        std::chrono::hours(1));
    weft::testing::run(**loop, run_keeper(**loop, keeper, path_, sources));
    EXPECT_EQ(sources, 2);
    EXPECT_TRUE(read_snapshot(path_));
  }
}

}  // namespace
}  // namespace weft::learn
