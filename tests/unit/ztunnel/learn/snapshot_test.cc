#include "ztunnel/learn/snapshot.h"

#include "tests/support/run_task.h"
#include "tests/unit/ztunnel/learn/builders.h"
#include "tests/unit/ztunnel/learn/eventually.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

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

// The state that a file gives, and whether it gives one.
std::optional<StateBuilder> restored(const std::string& path) {
  const auto responses = read_snapshot(path);
  if (!responses) return std::nullopt;
  std::optional<StateBuilder> builder(std::in_place, "Kubernetes");
  for (const auto& response : *responses) builder->apply(response);
  return builder;
}

DeltaResponse one_pod(const std::string& name, const std::string& version = "1") {
  DeltaResponse response = addresses();
  add_pod(response, name, 0, "", version);
  return response;
}

// A keeper and the builder it keeps, in the learner's order: appended, then applied.
struct Kept {
  Kept(runtime::Loop& on, const std::string& path, StateBuilder from = filled())
      : loop(on),
        builder(std::move(from)),
        keeper(
            on, path,
            [this] {
              ++bases;
              return content_of(builder);
            },
            [] { return 0.0; }) {}
  void learn(const DeltaResponse& response) {
    keeper.append(response);
    builder.apply(response);
  }
  runtime::Loop& loop;
  StateBuilder builder;
  int bases = 0;
  SnapshotKeeper keeper;
};

using Scenario = runtime::Task<void> (*)(runtime::Loop&, std::string);
void play(Scenario scenario, const std::string& path) {
  for (const auto backend : {runtime::Backend::kEpoll, runtime::Backend::kUring}) {
    auto loop = runtime::Loop::create(backend);
    if (!loop) continue;
    std::filesystem::remove(path);
    weft::testing::run(**loop, scenario(**loop, path));
  }
}

TEST_F(Snapshot, RestoresWhatItKept) {
  const StateBuilder original = filled();
  std::ofstream(path_) << encode_snapshot(content_of(original));
  const auto builder = restored(path_);
  ASSERT_TRUE(builder);
  StateBuilder again = *builder;
  const auto state = again.publish();
  EXPECT_TRUE(state->data().complete());
  EXPECT_NE(state->workload_of_pod("shop", "a"), nullptr);
  EXPECT_EQ(builder->versions(kAddressType), original.versions(kAddressType));
  EXPECT_EQ(builder->versions(kAuthorizationType), original.versions(kAuthorizationType));
  EXPECT_EQ(state->data().authorization.policies.size(), 2U)
      << "the wrong one denies in its scope again";
  EXPECT_TRUE(state->data().authorization.of_namespace.at("shop"));
}

TEST_F(Snapshot, EmptyIsCompleteToo) {
  for (const auto& response : good_responses(encode_snapshot({}))) builder_.apply(response);
  EXPECT_TRUE(builder_.publish()->data().complete());
}

std::string error_of(const std::string& bytes) {
  const auto decoded = decode_snapshot(bytes);
  return decoded ? std::string("accepted") : decoded.error().to_string();
}

TEST_F(Snapshot, DamageIsNoticed) {
  const std::string good = encode_snapshot(content_of(filled()));
  EXPECT_THAT(error_of(""), HasSubstr("not a snapshot"));
  EXPECT_THAT(error_of("weft-snapshot 1\n" + good.substr(16)), HasSubstr("not a snapshot"));
  for (size_t length = 0; length < good.size(); length += 7) {
    EXPECT_NE(error_of(good.substr(0, length)), "accepted") << length;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_NE(error_of(flipped), "accepted") << at;
  }
  EXPECT_THAT(error_of(good + encode_record('b', "")), HasSubstr("does not belong"));
  EXPECT_THAT(error_of(good + encode_record('d', "nonsense")), HasSubstr("not a response"));
  EXPECT_THAT(error_of("weft-snapshot 3\n" + encode_record('e', "")), HasSubstr("complete base"));
  EXPECT_THAT(error_of(good + std::string(4096, '\0')), HasSubstr("checksum"));
}

// What was being written when its writer was killed had not been put in force.
TEST_F(Snapshot, ALastChangeThatIsCutOffIsLeftOut) {
  const std::string good = encode_snapshot({}) + encode_delta(one_pod("kept"));
  const std::string cut = encode_delta(one_pod("cut"));
  for (size_t length = 0; length < cut.size(); ++length) {
    EXPECT_EQ(good_responses(good + cut.substr(0, length)).size(), 3U) << length;
  }
  EXPECT_EQ(good_responses(good + cut).size(), 4U);
  std::string flipped = good + cut;
  flipped[good.size() - 1] = static_cast<char>(flipped[good.size() - 1] ^ 1);
  EXPECT_NE(error_of(flipped), "accepted") << "damage before the end";
}

TEST_F(Snapshot, FilesThatAreNoSnapshot) {
  EXPECT_EQ(read_snapshot(folder_ + "/nothing").error().code, Code::kNotFound);
  EXPECT_FALSE(read_snapshot(folder_)) << "a folder";
  std::ofstream(path_) << "hello";
  EXPECT_EQ(read_snapshot(path_).error().code, Code::kInvalid);
}

runtime::Task<void> kill_behind_each_change(runtime::Loop& loop, std::string path) {
  Kept kept(loop, path);
  co_await kept.keeper.write_first();
  struct stat status{};
  CO_ASSERT_TRUE(stat(path.c_str(), &status) == 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  for (int i = 0; i < 50; ++i) {
    DeltaResponse response = one_pod("b" + std::to_string(i % 7), std::to_string(i));
    if (i % 5 == 0) response.add_removed_resources(pod_uid("b" + std::to_string((i + 3) % 7)));
    kept.learn(response);
    DeltaResponse policies = authorizations();
    add_policy(policies, "p" + std::to_string(i),
               i % 3 == 0 ? "rules { clauses { matches { "
                            "destination_ports: 99999 } } }"
                          : "action: DENY rules {}");
    kept.learn(policies);
    // Without any further turn of the loop: as after kill -9.
    const auto now = restored(path);
    CO_ASSERT_TRUE(now);
    for (const auto type : {kAddressType, kAuthorizationType}) {
      EXPECT_EQ(now->versions(type), kept.builder.versions(type)) << i;
    }
    EXPECT_EQ(now->data().authorization.policies.size(),
              kept.builder.data().authorization.policies.size());
  }
  EXPECT_EQ(kept.bases, 1);
}

TEST_F(Snapshot, EachChangeIsKeptBeforeItIsInForce) { play(kill_behind_each_change, path_); }

runtime::Task<void> grow(runtime::Loop& loop, std::string path) {
  Kept kept(loop, path);
  runtime::TaskScope scope;
  kept.keeper.start();
  scope.spawn(kept.keeper.run());
  CO_ASSERT_TRUE(co_await eventually(loop, [&] { return std::filesystem::exists(path); }));
  const std::string padding(20'000, 'x');
  size_t largest = 0;
  for (int i = 0; i < 1'000; ++i) {
    DeltaResponse response = addresses();
    add_pod(response, "b", 0, "workload_name: '" + padding + "'", std::to_string(i));
    kept.learn(response);
    if (i % 10 == 0) co_await loop.sleep(std::chrono::milliseconds(1));
    largest = std::max<size_t>(largest, std::filesystem::file_size(path));
    if (i % 50 != 0) continue;
    const auto now = restored(path);
    CO_ASSERT_TRUE(now);
    EXPECT_EQ(now->versions(kAddressType), kept.builder.versions(kAddressType)) << i;
  }
  EXPECT_GT(kept.bases, 2) << "20 MB of changes";
  EXPECT_LT(largest, 12 * SnapshotKeeper::kLogBytesMin);
  kept.keeper.stop();
  co_await scope.join();
  EXPECT_EQ(std::distance(
                std::filesystem::directory_iterator(std::filesystem::path(path).parent_path()), {}),
            1);
}

TEST_F(Snapshot, IsWrittenAnewWhenItsChangesAreMany) { play(grow, path_); }

runtime::Task<void> two_keepers(runtime::Loop& loop, std::string path) {
  Kept older(loop, path);
  co_await older.keeper.write_first();
  Kept younger(loop, path);
  co_await younger.keeper.write_first();
  younger.learn(one_pod("of-the-younger"));
  older.learn(one_pod("of-the-older"));
  co_await older.keeper.write_first();
  const auto now = restored(path);
  CO_ASSERT_TRUE(now);
  EXPECT_EQ(now->versions(kAddressType), younger.builder.versions(kAddressType));
  EXPECT_EQ(older.keeper.failure(), "");
}

TEST_F(Snapshot, ItsSuccessorKeepsIt) { play(two_keepers, path_); }

runtime::Task<void> remove_it(runtime::Loop& loop, std::string path) {
  Kept kept(loop, path);
  runtime::TaskScope scope;
  co_await kept.keeper.write_first();
  scope.spawn(kept.keeper.run());
  std::filesystem::remove(path);
  kept.learn(one_pod("b"));
  CO_ASSERT_TRUE(co_await eventually(loop, [&] { return std::filesystem::exists(path); }));
  EXPECT_EQ(restored(path)->versions(kAddressType), kept.builder.versions(kAddressType));
  kept.keeper.stop();
  co_await scope.join();
}

TEST_F(Snapshot, OneThatWasRemovedIsMadeAgain) { play(remove_it, path_); }

// What is not the present configuration must not be found by a restart.
runtime::Task<void> behind(runtime::Loop& loop, std::string path) {
  std::ofstream(path) << "of an earlier version";
  Kept kept(loop, path, StateBuilder("Kubernetes"));
  kept.learn(one_pod("a"));
  EXPECT_FALSE(std::filesystem::exists(path));
  co_return;
}

TEST_F(Snapshot, OneThatIsBehindIsRemoved) { play(behind, path_); }

bool fill(const std::string& path) {
  std::ofstream file(path);
  const std::string block(4096, 'x');
  while (file << block << std::flush) {
  }
  return true;
}

// A folder of a few pages, until the test ends.
class SmallDisk {
 public:
  explicit SmallDisk(std::string folder) : folder_(std::move(folder)) {
    mounted_ = mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=64k") == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount(folder_.c_str());
  }
  bool is_mounted() const { return mounted_; }

 private:
  std::string folder_;
  bool mounted_;
};

runtime::Task<void> full_disk(runtime::Loop& loop, std::string path) {
  Kept kept(loop, path);
  runtime::TaskScope scope;
  co_await kept.keeper.write_first();
  CO_ASSERT_TRUE(restored(path));
  const std::string ballast = path + ".ballast";
  fill(ballast);
  // As much as fits into what is left of the file's last page is kept still.
  for (int i = 0; i < 100; ++i) kept.learn(one_pod("b", std::to_string(i)));
  EXPECT_THAT(kept.keeper.failure(), HasSubstr("No space left on device"));
  EXPECT_FALSE(restored(path)) << "a restart without control must not find what is behind";
  fill(ballast);
  scope.spawn(kept.keeper.run());
  co_await loop.sleep(std::chrono::milliseconds(20));
  EXPECT_THAT(kept.keeper.failure(), HasSubstr("No space left on device")) << "tried, in vain";
  std::filesystem::remove(ballast);
  CO_ASSERT_TRUE(co_await eventually(loop, [&] { return kept.keeper.failure().empty(); }));
  kept.learn(one_pod("c"));
  const auto now = restored(path);
  CO_ASSERT_TRUE(now);
  EXPECT_EQ(now->versions(kAddressType), kept.builder.versions(kAddressType));
  kept.keeper.stop();
  co_await scope.join();
}

TEST_F(Snapshot, ADiskThatIsFullIsToldAndGotOver) {
  const SmallDisk disk(folder_);
  if (!disk.is_mounted()) GTEST_SKIP() << "needs CAP_SYS_ADMIN: to mount a tmpfs";
  std::vector<std::string> lines;
  log::set_sink([&](std::string_view line) { lines.emplace_back(line); });
  play(full_disk, path_);
  log::set_sink({});
  const auto count = [&](std::string_view words) {
    return std::ranges::count_if(
        lines, [&](const auto& line) { return line.find(words) != std::string::npos; });
  };
  EXPECT_EQ(count("will refuse connections until control is back"), count("is kept on disk again"));
  EXPECT_GE(count("is kept on disk again"), 1);
}

}  // namespace
}  // namespace weft::learn
