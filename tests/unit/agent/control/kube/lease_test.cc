#include "agent/control/kube/lease.h"

#include "agent/control/kube/election.h"
#include "tests/support/run_task.h"
#include "tests/unit/agent/control/kube/fake_api.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::control::kube {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Time = LeaseView::Time;
using std::chrono::seconds;

constexpr const char* kWall = "2026-01-02T03:04:05.000000Z";

std::string lease(const std::string& holder, const std::string& renewed, int version = 1) {
  return R"({"kind":"Lease","metadata":{"name":"weft-control","namespace":"weft",)"
         R"("resourceVersion":")" +
         std::to_string(version) + R"("},"spec":{)" +
         (holder.empty() ? "" : R"("holderIdentity":")" + holder + R"(",)") +
         R"("leaseDurationSeconds":15,"leaseTransitions":3,"acquireTime":"a","renewTime":")" +
         renewed + R"("}})";
}

TEST(LeaseView, WaitsAsLongAsTheHolderSaysByItsOwnClock) {
  LeaseView view("me", {});
  const Time start{};
  // The times in the object are of another clock: they are not looked at.
  ASSERT_TRUE(view.observe(lease("other", "1999-01-01T00:00:00.000000Z"), start));
  EXPECT_FALSE(view.may_take(start));
  EXPECT_FALSE(view.may_take(start + seconds(14)));
  EXPECT_TRUE(view.may_take(start + seconds(15)));
}

TEST(LeaseView, ARenewalIsASignOfLifeAndALabelIsNot) {
  LeaseView view("me", {});
  const Time start{};
  ASSERT_TRUE(view.observe(lease("other", "a"), start));
  ASSERT_TRUE(view.observe(lease("other", "a", 2), start + seconds(10)));
  EXPECT_TRUE(view.may_take(start + seconds(15)));
  ASSERT_TRUE(view.observe(lease("other", "b", 3), start + seconds(15)));
  EXPECT_FALSE(view.may_take(start + seconds(29)));
  EXPECT_TRUE(view.may_take(start + seconds(30)));
}

TEST(LeaseView, TakesItsOwnAndNobodysAtOnce) {
  for (const char* holder : {"", "me"}) {
    LeaseView view("me", {});
    ASSERT_TRUE(view.observe(lease(holder, "a"), Time{}));
    EXPECT_TRUE(view.may_take(Time{})) << holder;
  }
}

TEST(LeaseView, WritesOverExactlyWhatItSaw) {
  LeaseView view("me", {});
  ASSERT_TRUE(view.observe(lease("other", "a", 7), Time{}));
  const std::string taken = view.to_take(kWall);
  EXPECT_THAT(taken, HasSubstr(R"("resourceVersion":"7")"));
  EXPECT_THAT(taken, HasSubstr(R"("holderIdentity":"me")"));
  EXPECT_THAT(taken, HasSubstr(R"("leaseTransitions":4)"));
  EXPECT_THAT(taken, HasSubstr(std::string(R"("acquireTime":")") + kWall));
  ASSERT_TRUE(view.observe(lease("me", "a", 8), Time{}));
  EXPECT_THAT(view.to_take(kWall), HasSubstr(R"("leaseTransitions":3)"));
  EXPECT_THAT(view.to_take(kWall), HasSubstr(R"("acquireTime":"a")"));
  const std::string released = view.to_release(kWall);
  EXPECT_THAT(released, Not(HasSubstr("holderIdentity")));
  EXPECT_THAT(released, HasSubstr(R"("leaseDurationSeconds":1,)"));
  EXPECT_THAT(view.to_create("weft", "weft-control", kWall), HasSubstr(R"("leaseTransitions":0)"));
}

TEST(LeaseView, RefusesWhatIsNoLease) {
  LeaseView view("me", {});
  for (const char* text : {"", "{", "[]", "{}", R"({"metadata":{}})", R"({"metadata":[]})"}) {
    EXPECT_FALSE(view.observe(text, Time{})) << text;
  }
  // A holder that asks for a century is not waited for that long.
  ASSERT_TRUE(view.observe(R"({"metadata":{"resourceVersion":"1"},"spec":{"holderIdentity":"x",)"
                           R"("leaseDurationSeconds":3000000000}})",
                           Time{}));
  EXPECT_TRUE(view.may_take(Time{} + std::chrono::hours(1)));
}

// A Lease as an API server keeps it, for replicas whose waits are milliseconds.
class Replicas : public ::testing::Test {
 protected:
  Replicas() {
    log::set_sink([](std::string_view) {});
    api_.answer = [this](const FakeApi::Request& request) -> Result<FakeApi::Response> {
      if (is_away_) return fail(Code::kUnavailable, "connection refused");
      if (request.method == "GET") return object_.empty() ? answered(404) : answered(200, object_);
      if (request.method == "POST" && !object_.empty()) return answered(409);
      const std::string expected = R"("resourceVersion":")" + std::to_string(version_) + '"';
      if (request.method == "PUT" && request.body.find(expected) == std::string::npos) {
        return answered(409);
      }
      object_ = request.body;
      const size_t at = object_.find(R"("metadata":{)");
      const size_t old = object_.find(R"("resourceVersion":")");
      const std::string fresh = R"("resourceVersion":")" + std::to_string(++version_) + '"';
      if (old == std::string::npos) {
        object_.insert(at + 12, fresh + ",");
      } else {
        object_.replace(old, expected.size(), fresh);
      }
      return answered(request.method == "POST" ? 201 : 200, object_);
    };
  }
  ~Replicas() override { log::set_sink(nullptr); }

  std::unique_ptr<Election> replica(const std::string& identity, std::vector<bool>& told) {
    return std::make_unique<Election>(
        api_, Election::Names{"weft", "weft-control", identity},
        [this, &told](bool leads) {
          told.push_back(leads);
          changed_.wake();
        },
        [] { return 0.0; },
        LeaseTimes{std::chrono::milliseconds(1000), std::chrono::milliseconds(60),
                   std::chrono::milliseconds(5)});
  }
  runtime::Task<void> until(const std::vector<bool>& told, size_t size) {
    while (told.size() < size) co_await changed_.wait();
  }

  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();
  FakeApi api_{*loop_};
  runtime::Event changed_;
  bool is_away_ = false;
  std::string object_;
  int version_ = 1;
};

runtime::Task<void> one_leads_until_it_stops(Election& first, Election& second,
                                             runtime::Task<void> first_leads,
                                             runtime::Task<void> second_leads) {
  runtime::TaskScope tasks;
  tasks.spawn(first.run());
  co_await std::move(first_leads);
  tasks.spawn(second.run());
  EXPECT_FALSE(second.leads());
  first.stop();
  co_await std::move(second_leads);
  second.stop();
  co_await tasks.join();
}

TEST_F(Replicas, TheSecondLeadsOnceTheFirstGivesTheLeaseBack) {
  std::vector<bool> first_told;
  std::vector<bool> second_told;
  const auto first = replica("a", first_told);
  const auto second = replica("b", second_told);
  testing::run(*loop_, one_leads_until_it_stops(*first, *second, until(first_told, 1),
                                                until(second_told, 1)));
  EXPECT_THAT(first_told, ::testing::ElementsAre(true, false));
  EXPECT_THAT(second_told, ::testing::ElementsAre(true, false));
  EXPECT_THAT(object_, Not(HasSubstr("holderIdentity")));
}

runtime::Task<void> leads_until_the_api_server_goes(Election& one, bool& is_away,
                                                    runtime::Task<void> leads,
                                                    runtime::Task<void> lost) {
  runtime::TaskScope tasks;
  tasks.spawn(one.run());
  co_await std::move(leads);
  is_away = true;
  co_await std::move(lost);
  EXPECT_FALSE(one.leads());
  one.stop();
  co_await tasks.join();
}

TEST_F(Replicas, WhoCannotRenewStopsByItself) {
  std::vector<bool> told;
  const auto one = replica("a", told);
  testing::run(*loop_,
               leads_until_the_api_server_goes(*one, is_away_, until(told, 1), until(told, 2)));
  EXPECT_THAT(told, ::testing::ElementsAre(true, false));
  EXPECT_GT(one->failures(), 0U);
}

}  // namespace
}  // namespace weft::control::kube
