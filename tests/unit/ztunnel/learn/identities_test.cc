#include "ztunnel/learn/identities.h"

#include "tests/support/backends.h"
#include "tests/support/run_task.h"
#include "tests/support/test_authority.h"
#include "tests/unit/ztunnel/learn/eventually.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::learn {
namespace {

using runtime::Task;
using std::chrono::seconds;
using ::testing::ElementsAre;
using testing::eventually;
using ::testing::HasSubstr;
using TimePoint = std::chrono::system_clock::time_point;

const SpiffeId kA{"cluster.local", "shop", "a"};
const SpiffeId kB{"cluster.local", "shop", "b"};

// Signs, refuses or keeps the caller waiting, as the test says.
class FakeAuthority final : public CertificateAuthority {
 public:
  Task<Result<std::vector<std::string>>> create_certificate(std::string csr_pem, SpiffeId identity,
                                                            seconds lifetime) override {
    asked.push_back(identity);
    asked_lifetime = lifetime;
    ++in_flight;
    in_flight_max = std::max(in_flight_max, in_flight);
    co_await gate.wait();
    --in_flight;
    if (aborted) co_return fail(Code::kCancelled, "aborted");
    if (failure) co_return Fail(*failure);
    const std::string name = answers_for.value_or(identity).to_string();
    co_return authority.sign(csr_pem, name, {.valid_until = valid_for});
  }
  void abort() override {
    aborted = true;
    gate.set();
  }

  weft::testing::TestAuthority authority{"cluster.local"};
  std::vector<SpiffeId> asked;
  seconds asked_lifetime{};
  seconds valid_for{3600};
  std::optional<Error> failure;
  std::optional<SpiffeId> answers_for;  // another identity than the one asked for
  runtime::Event gate;
  size_t in_flight = 0;
  size_t in_flight_max = 0;
  bool aborted = false;
};

class FakeSink final : public IdentitySink {
 public:
  void identity_issued(std::shared_ptr<const tls::Credentials> credentials) override {
    issued.push_back(std::move(credentials));
  }
  void identity_failed(const SpiffeId& identity, const Error& error) override {
    failed.emplace_back(identity, error.to_string());
  }
  void identity_gone(const SpiffeId& identity) override { gone.push_back(identity); }

  CredentialsList issued_to(const SpiffeId& identity) const {
    CredentialsList result;
    for (const auto& one : issued) {
      if (one->identity == identity) result.push_back(one);
    }
    return result;
  }

  CredentialsList issued;
  std::vector<std::pair<SpiffeId, std::string>> failed;
  std::vector<SpiffeId> gone;
};

class IdentitiesTest : public ::testing::TestWithParam<runtime::Backend> {
 protected:
  void SetUp() override {
    auto loop = runtime::Loop::create(GetParam());
    if (!loop) GTEST_SKIP() << loop.error().to_string();
    loop_ = std::move(*loop);
    identities_ = std::make_unique<Identities>(
        *loop_, authority_, sink_,
        Identities::Options{seconds(3600), [this] { return now_; }, [] { return 0.0; }});
    authority_.gate.set();
  }

  Task<void> scenario(Task<void> steps) {
    runtime::TaskScope scope;
    scope.spawn(identities_->run());
    co_await std::move(steps);
    identities_->stop();
    co_await scope.join();
  }
  void run(Task<void> steps) { weft::testing::run(*loop_, scenario(std::move(steps))); }
  // The clock goes on, and somebody looks at it.
  void advance(seconds by) {
    now_ += by;
    identities_->want(kB);
    identities_->unwant(kB);
  }
  std::string state_of(const SpiffeId& identity) const {
    for (const auto& one : identities_->status()) {
      if (one.identity == identity) return one.state;
    }
    return "unknown";
  }

  Task<void> one_for_all_pods();
  Task<void> failure_and_retry();
  Task<void> renewal();
  Task<void> renewal_fails();
  Task<void> clock_set_back_while_failing();
  Task<void> clock_set_back();
  Task<void> clock_set_forward();
  Task<void> bounded();
  Task<void> forgotten_in_flight();
  Task<void> restored();
  Task<void> wrong_answer();
  Task<void> new_roots();

  std::unique_ptr<runtime::Loop> loop_;
  TimePoint now_ = std::chrono::system_clock::now();
  FakeAuthority authority_;
  FakeSink sink_;
  std::unique_ptr<Identities> identities_;
};

Task<void> IdentitiesTest::one_for_all_pods() {
  identities_->want(kA);
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued.size() == 1; }));
  EXPECT_THAT(authority_.asked, ElementsAre(kA));
  EXPECT_EQ(authority_.asked_lifetime, seconds(3600));
  EXPECT_EQ(sink_.issued[0]->identity, kA);
  EXPECT_EQ(state_of(kA), "available");
  EXPECT_EQ(identities_->issued().size(), 1U);
  identities_->unwant(kA);
  EXPECT_TRUE(sink_.gone.empty());
  identities_->unwant(kA);
  EXPECT_THAT(sink_.gone, ElementsAre(kA));
  EXPECT_TRUE(identities_->issued().empty());
}
TEST_P(IdentitiesTest, OneForAllPodsOfAServiceAccount) { run(one_for_all_pods()); }

Task<void> IdentitiesTest::failure_and_retry() {
  authority_.failure = Error(Code::kRefused, "this node runs no such pod");
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.failed.size() == 1; }));
  EXPECT_THAT(sink_.failed[0].second, HasSubstr("runs no such pod"));
  EXPECT_EQ(state_of(kA), "failed: this node runs no such pod");
  // Not again before 500 ms have passed, then not before a second has.
  advance(seconds(0));
  EXPECT_EQ(authority_.asked.size(), 2U) << "only for the other identity";
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return authority_.in_flight == 0; }));
  now_ += std::chrono::milliseconds(501);
  advance(seconds(0));
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 2);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return authority_.in_flight == 0; }));
  now_ += std::chrono::milliseconds(501);
  advance(seconds(0));
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 2) << "the wait has doubled";
  authority_.failure.reset();
  identities_->retry_now();
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return state_of(kA) == "available"; }));
}
TEST_P(IdentitiesTest, AsksAgainAfterAFailure) { run(failure_and_retry()); }

Task<void> IdentitiesTest::renewal() {
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued_to(kA).size() == 1; }));
  advance(seconds(1700));  // of 3660, as the certificate is dated back
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 1);
  advance(seconds(200));
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued_to(kA).size() == 2; }));
  const CredentialsList both = sink_.issued_to(kA);
  EXPECT_NE(both[0]->serial, both[1]->serial);
  EXPECT_NE(both[0]->key_der.bytes(), both[1]->key_der.bytes()) << "a fresh key";
}
TEST_P(IdentitiesTest, RenewsAtHalfLife) { run(renewal()); }

Task<void> IdentitiesTest::renewal_fails() {
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued.size() == 1; }));
  authority_.failure = Error(Code::kUnavailable, "away");
  advance(seconds(2000));
  CO_ASSERT_TRUE(
      co_await eventually(*loop_, [&] { return std::ranges::count(authority_.asked, kA) == 2; }));
  EXPECT_TRUE(std::ranges::none_of(sink_.failed, [](const auto& f) { return f.first == kA; }))
      << "the present one is still valid";
  EXPECT_EQ(state_of(kA), "available");
  EXPECT_EQ(identities_->issued().size(), 1U);
  advance(seconds(1700));
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] {
    return std::ranges::any_of(sink_.failed, [](const auto& f) { return f.first == kA; });
  }));
  EXPECT_EQ(state_of(kA), "failed: away");
}
TEST_P(IdentitiesTest, KeepsAValidCertificateWhileTheCaFails) { run(renewal_fails()); }

// The CA failed, and then the clock was set back by a day.
Task<void> IdentitiesTest::clock_set_back_while_failing() {
  authority_.failure = Error(Code::kUnavailable, "away");
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.failed.size() == 1; }));
  advance(-seconds(86'400));
  authority_.failure.reset();
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 1);
  advance(seconds(151));
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return state_of(kA) == "available"; }));
}
TEST_P(IdentitiesTest, AClockSetBackDelaysNoRetry) { run(clock_set_back_while_failing()); }

// A day behind, a certificate is renewed when half its life has really passed, not a day later.
Task<void> IdentitiesTest::clock_set_back() {
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued_to(kA).size() == 1; }));
  advance(-seconds(86'400));
  EXPECT_EQ(state_of(kA), "available");
  advance(seconds(1'700));
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 1);
  advance(seconds(200));
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued_to(kA).size() == 2; }));
}
TEST_P(IdentitiesTest, AClockSetBackDelaysNoRenewal) { run(clock_set_back()); }

// Past the end of the certificate: it is not used any more, and the CA asked at once.
Task<void> IdentitiesTest::clock_set_forward() {
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued_to(kA).size() == 1; }));
  authority_.gate.reset();
  advance(seconds(86'400));
  EXPECT_EQ(state_of(kA), "waiting");
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 2);
  authority_.valid_for = seconds(2 * 86'400);
  authority_.gate.set();
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return state_of(kA) == "available"; }));
  // And back again: the new one is kept.
  advance(-seconds(86'400));
  EXPECT_EQ(state_of(kA), "available");
  EXPECT_EQ(sink_.issued_to(kA).size(), 2U);
}
TEST_P(IdentitiesTest, AClockSetForwardRenewsAtOnce) { run(clock_set_forward()); }

Task<void> IdentitiesTest::bounded() {
  authority_.gate.reset();
  for (int i = 0; i < 20; ++i) identities_->want({"cluster.local", "shop", std::to_string(i)});
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return authority_.in_flight == 8; }));
  EXPECT_EQ(authority_.asked.size(), 8U);
  authority_.gate.set();
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued.size() == 20; }));
  EXPECT_EQ(authority_.in_flight_max, 8U);
}
TEST_P(IdentitiesTest, AsksForAtMostEightAtOnce) { run(bounded()); }

Task<void> IdentitiesTest::forgotten_in_flight() {
  authority_.gate.reset();
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return authority_.in_flight == 1; }));
  identities_->unwant(kA);
  identities_->want(kA);  // a new pod: its own question
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return authority_.in_flight == 2; }));
  authority_.gate.set();
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued.size() == 1; }));
  co_await loop_->sleep(std::chrono::milliseconds(0));
  EXPECT_EQ(sink_.issued.size(), 1U);
}
TEST_P(IdentitiesTest, AnAnswerForAPodThatLeftIsDropped) { run(forgotten_in_flight()); }

Task<void> IdentitiesTest::restored() {
  const auto parked = authority_.authority.issue(kA.to_string());
  const auto old = authority_.authority.issue(
      kB.to_string(), {.valid_from = seconds(-3000), .valid_until = seconds(600)});
  identities_->restore({parked, old});
  identities_->want(kA);
  identities_->want(kB);
  EXPECT_THAT(sink_.issued, ElementsAre(parked, old)) << "at once";
  now_ += seconds(1);
  identities_->retry_now();  // somebody looks at the clock
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued.size() == 3; }));
  EXPECT_THAT(authority_.asked, ElementsAre(kB)) << "past its half life";
  // A second time it changes nothing; and what no pod claimed is dropped.
  const SpiffeId other{"cluster.local", "shop", "other"};
  identities_->restore({parked, authority_.authority.issue(other.to_string())});
  EXPECT_EQ(sink_.issued.size(), 3U);
  identities_->drop_unclaimed();
  identities_->want(other);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return authority_.asked.size() == 2; }));
}
TEST_P(IdentitiesTest, UsesWhatWasParked) { run(restored()); }

Task<void> IdentitiesTest::wrong_answer() {
  authority_.answers_for = kB;
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.failed.size() == 1; }));
  EXPECT_THAT(sink_.failed[0].second, HasSubstr("asked for spiffe://cluster.local/ns/shop/sa/a"));
  EXPECT_TRUE(sink_.issued.empty());
}
TEST_P(IdentitiesTest, RefusesACertificateForAnotherIdentity) { run(wrong_answer()); }

Task<void> IdentitiesTest::new_roots() {
  const std::string own = authority_.authority.root_pem();
  const std::string both = own + weft::testing::TestAuthority("cluster.local").root_pem();
  identities_->want(kA);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued.size() == 1; }));
  identities_->roots_changed(own);
  advance(seconds(1));
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 1) << "it came with these";
  identities_->roots_changed(both);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued_to(kA).size() == 2; }));
  advance(seconds(60));
  EXPECT_EQ(std::ranges::count(authority_.asked, kA), 2)
      << "once, though the CA gives the old ones";
  // One that comes back from the agent's memory is measured by the present roots, too.
  const SpiffeId other{"cluster.local", "shop", "other"};
  identities_->restore({authority_.authority.issue(other.to_string())});
  identities_->want(other);
  CO_ASSERT_TRUE(co_await eventually(*loop_, [&] { return sink_.issued_to(other).size() == 2; }));
}
TEST_P(IdentitiesTest, AsksAgainWhenTheRootsChange) { run(new_roots()); }

BOTH_BACKENDS(IdentitiesTest);

}  // namespace
}  // namespace weft::learn
