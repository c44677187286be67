#include "ztunnel/waypoint/outlier.h"

#include "tests/unit/ztunnel/routing/requests.h"

#include <gtest/gtest.h>

#include <thread>

namespace weft::waypoint {
namespace {

using std::chrono::milliseconds;

// Outliers with a clock of its own.
class Watched {
 public:
  explicit Watched(const std::string& config, int endpoints = 2)
      : outliers_(routing::parsed<weft::route::Outlier>(config)) {
    for (int i = 0; i < endpoints; ++i) {
      endpoints_.push_back(outliers_.endpoint("10.0.0." + std::to_string(i) + ":80"));
    }
  }
  void status(int of, int status, int times = 1) {
    for (; times > 0; --times) outliers_.went(*endpoints_[of], Went::kAnswered, status, now_);
  }
  void failure(int of, Went how, int times = 1) {
    for (; times > 0; --times) outliers_.went(*endpoints_[of], how, 0, now_);
  }
  void pass(int ms) {
    now_ += milliseconds(ms);
    outliers_.tick(now_);
  }
  std::string ejected() const {
    std::string made;
    for (const auto& endpoint : endpoints_) made += endpoint->is_ejected() ? 'x' : '.';
    return made;
  }
  Outliers& outliers() { return outliers_; }

 private:
  Outliers outliers_;
  std::vector<std::shared_ptr<EndpointHealth>> endpoints_;
  Clock::time_point now_ = Clock::time_point(std::chrono::hours(1));
};

const std::string kShop =
    "consecutive_5xx: 3 interval_ms: 1000 ejection_ms: 3000 ejection_percent_max: 100 ";

TEST(Outliers, ThreeInARowEjectAndTimeLetsReturn) {
  Watched shop(kShop);
  shop.status(0, 500, 2);
  shop.status(0, 404);  // ends the row
  shop.status(0, 500, 2);
  EXPECT_EQ(shop.ejected(), "..");
  shop.status(0, 503);
  EXPECT_EQ(shop.ejected(), "x.");
  EXPECT_EQ(shop.outliers().generation(), 1);
  shop.pass(2999);
  EXPECT_EQ(shop.ejected(), "x.");
  shop.pass(1000);
  EXPECT_EQ(shop.ejected(), "..");
  EXPECT_EQ(shop.outliers().generation(), 2);
  shop.status(0, 500, 2);  // the row begins anew
  EXPECT_EQ(shop.ejected(), "..");
}

TEST(Outliers, EachTimeIsLongerUntilAQuietInterval) {
  Watched shop(kShop);
  shop.status(0, 500, 3);
  shop.pass(3000);
  shop.status(0, 500, 3);
  shop.pass(3000);
  EXPECT_EQ(shop.ejected(), "x.") << "twice as long";
  shop.pass(3000);
  EXPECT_EQ(shop.ejected(), "..");
  shop.pass(1000);
  shop.pass(1000);  // forgotten
  shop.status(0, 500, 3);
  shop.pass(3000);
  EXPECT_EQ(shop.ejected(), "..");
}

TEST(Outliers, AnEjectionHasALongestTime) {
  Watched shop(
      "consecutive_5xx: 1 interval_ms: 1000 ejection_ms: 200000 ejection_percent_max: 100");
  shop.status(0, 500);
  shop.pass(200'000);
  EXPECT_EQ(shop.ejected(), "..");
  shop.status(0, 500);
  shop.pass(300'000);
  EXPECT_EQ(shop.ejected(), "..") << "not 400 s";
  Watched slow(
      "consecutive_5xx: 1 interval_ms: 1000 ejection_ms: 600000 ejection_percent_max: 100");
  slow.status(0, 500);
  slow.pass(599'000);
  EXPECT_EQ(slow.ejected(), "x.") << "the base may be longer";
}

TEST(Outliers, AFailureWithoutAnswerIsA5xxAndAGatewaysError) {
  for (const Went how : {Went::kConnectFailure, Went::kReset, Went::kTimeout}) {
    Watched five(kShop);
    five.failure(0, how, 3);
    EXPECT_EQ(five.ejected(), "x.");
    Watched gateway("consecutive_gateway: 2 ejection_percent_max: 100");
    gateway.failure(1, how, 2);
    EXPECT_EQ(gateway.ejected(), ".x");
  }
}

TEST(Outliers, GatewayErrorsAre502To504) {
  Watched shop("consecutive_gateway: 3 ejection_percent_max: 100");
  shop.status(0, 500, 9);
  EXPECT_EQ(shop.ejected(), "..");
  shop.status(0, 502);
  shop.status(0, 504);
  shop.status(0, 500);  // is none, and ends the row
  shop.status(0, 503, 2);
  EXPECT_EQ(shop.ejected(), "..");
  shop.status(0, 503);
  EXPECT_EQ(shop.ejected(), "x.");
}

TEST(Outliers, SplitLocalErrorsAreCountedApart) {
  Watched shop(kShop + "split_local: true consecutive_local: 2");
  shop.failure(0, Went::kConnectFailure);
  shop.status(0, 500, 2);  // answered: the local row ends
  shop.failure(0, Went::kReset);
  EXPECT_EQ(shop.ejected(), "..");
  shop.failure(0, Went::kTimeout);
  EXPECT_EQ(shop.ejected(), "x.");
}

TEST(Outliers, NoMoreThanSoMany) {
  Watched ten("consecutive_5xx: 1 ejection_percent_max: 10", 4);
  for (int i = 0; i < 4; ++i) ten.status(i, 500);
  EXPECT_EQ(ten.ejected(), "x...") << "one always";
  Watched half("consecutive_5xx: 1 ejection_percent_max: 50", 4);
  for (int i = 0; i < 4; ++i) half.status(i, 500);
  EXPECT_EQ(half.ejected(), "xx..");
  Watched none("consecutive_5xx: 1 ejection_percent_max: 0", 4);
  none.status(0, 500);
  EXPECT_EQ(none.ejected(), "....");
}

TEST(Outliers, WithoutAPolicyNobodyIsEjected) {
  Watched shop("ejection_percent_max: 100");
  shop.status(0, 500, 100);
  shop.failure(0, Went::kReset, 100);
  EXPECT_EQ(shop.ejected(), "..");
  shop.outliers().update(routing::parsed<weft::route::Outlier>(kShop));
  shop.status(0, 500, 3);
  EXPECT_EQ(shop.ejected(), "x.");
}

TEST(Outliers, OneEndpointIsOneForAllWhoHoldIt) {
  Outliers outliers(routing::parsed<weft::route::Outlier>(kShop));
  const auto one = outliers.endpoint("a");
  EXPECT_EQ(outliers.endpoint("a"), one);
  EXPECT_NE(outliers.endpoint("b"), one);
}

// Rows that several workers see at once: no lock is needed to count, every row ejects once.
TEST(Outliers, WorkersCountTogether) {
  Outliers outliers(routing::parsed<weft::route::Outlier>(
      "consecutive_5xx: 1000 interval_ms: 1000 ejection_percent_max: 100"));
  const auto endpoint = outliers.endpoint("a");
  std::vector<std::jthread> workers;
  for (int worker = 0; worker < 4; ++worker) {
    workers.emplace_back([&] {
      for (int i = 0; i < 250; ++i) outliers.went(*endpoint, Went::kReset, 0, Clock::now());
    });
  }
  workers.clear();
  EXPECT_TRUE(endpoint->is_ejected());
  EXPECT_EQ(outliers.ejections(), 1);
}

}  // namespace
}  // namespace weft::waypoint
