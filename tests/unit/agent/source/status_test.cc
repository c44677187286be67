#include "agent/source/status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

namespace weft::source {
namespace {

using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const objects::Key kPolicy{"AuthorizationPolicy", "shop", "p"};

class Statuses : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "weft-status.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    writer_ = make_folder_status_writer(folder_, [this] { return now_; });
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(bool accepted, const std::string& message) {
    const auto written = writer_->write(
        kPolicy, {{"ZtunnelAccepted", accepted, accepted ? "Accepted" : "Invalid", message}});
    ASSERT_TRUE(written) << written.error().to_string();
  }
  std::string shown() const {
    const auto parsed = objects::parse_manifests(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
        "metadata: {namespace: shop, name: p}\n",
        "f.yaml");
    return objects::to_json(*with_status(folder_, parsed.objects.at(0)));
  }
  ino_t file() const {
    struct stat about{};
    ::stat((folder_ + "/.status/AuthorizationPolicy.shop.p.json").c_str(), &about);
    return about.st_ino;
  }

  std::string folder_;
  std::chrono::system_clock::time_point now_{seconds(1'800'000'000)};
  std::unique_ptr<StatusWriter> writer_;
};

TEST_F(Statuses, AreShownWithTheirObject) {
  EXPECT_THAT(shown(), Not(HasSubstr("status")));
  write(false, "a \"reason\"");
  EXPECT_THAT(shown(),
              AllOf(HasSubstr(R"("type":"ZtunnelAccepted")"), HasSubstr(R"("status":"False")"),
                    HasSubstr(R"("reason":"Invalid")"), HasSubstr(R"(a \"reason\")"),
                    HasSubstr(R"("lastTransitionTime":"2027-01-15T08:00:00Z")")));
  ASSERT_TRUE(writer_->write(kPolicy, {}));
  EXPECT_THAT(shown(), Not(HasSubstr("status")));
  ASSERT_TRUE(writer_->write(kPolicy, {})) << "and once more";
}

TEST_F(Statuses, AreWrittenOnChangeOnly) {
  write(true, "attached");
  const ino_t first = file();
  now_ += seconds(60);
  write(true, "attached");
  EXPECT_EQ(file(), first);
  // Another message is no transition.
  write(true, "attached again");
  EXPECT_NE(file(), first);
  EXPECT_THAT(shown(), HasSubstr("08:00:00Z"));
  write(false, "refused");
  EXPECT_THAT(shown(), HasSubstr("08:01:00Z"));
}

}  // namespace
}  // namespace weft::source
