#include "ztunnel/tls/session.h"

#include "tests/support/test_authority.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

// Two sessions without a transport: what they put into records, and when they change keys.

namespace weft::tls {
namespace {

using runtime::Buffer;

const SpiffeId kAlice{"cluster.local", "a", "alice"};
const SpiffeId kBob{"cluster.local", "b", "bob"};

class SessionTest : public ::testing::Test {
 public:
  void connect(uint64_t records_per_key) {
    client_context_ = Context::make(authority_.issue(kAlice.to_string())).value();
    server_context_ = Context::make(authority_.issue(kBob.to_string())).value();
    Verification bob;
    bob.trust = std::make_shared<const Trust>();
    bob.any_of = {kBob};
    Verification anybody;
    anybody.trust = bob.trust;
    anybody.role = Role::kMeshServer;
    anybody.trust_domain = "cluster.local";
    client_ =
        Session::make(client_context_->impl(), std::move(bob), pool_, records_per_key).value();
    server_ = Session::make(server_context_->impl(), std::move(anybody), pool_).value();
    for (int flight = 0; flight < 3; ++flight) {
      ASSERT_TRUE(client_->handshake());
      carry(*client_, *server_);
      ASSERT_TRUE(server_->handshake());
      carry(*server_, *client_);
    }
    ASSERT_EQ(client_->handshake().value(), Session::Progress::kDone);
    ASSERT_EQ(server_->handshake().value(), Session::Progress::kDone);
  }

  // What the receiver makes of all that the sender has put out; the sizes of the sent buffers.
  std::string carry(Session& from, Session& to) {
    std::string plain;
    sent_.clear();
    while (std::optional<Buffer> bytes = from.take_outgoing()) {
      sent_.push_back(bytes->size());
      to.feed(std::move(*bytes));
      if (!to.is_established()) {
        EXPECT_TRUE(to.handshake());
        continue;
      }
      while (true) {
        Result<std::optional<Buffer>> some = to.open();
        EXPECT_TRUE(some) << some.error().to_string();
        if (!some || !*some || (*some)->empty()) break;
        plain += (*some)->text();
      }
    }
    return plain;
  }

  Buffer full_buffer() {
    return pool_.copy_of(std::string(runtime::BufferPool::kBufferBytes, 'x'));
  }

  static Result<void> seal(Session& session, Buffer plain) { return session.seal({&plain, 1}); }
  size_t sum_of_sent() const {
    size_t sum = 0;
    for (const size_t size : sent_) sum += size;
    return sum;
  }

 protected:
  runtime::BufferPool pool_;
  testing::TestAuthority authority_{"cluster.local"};
  std::shared_ptr<Context> client_context_;
  std::shared_ptr<Context> server_context_;
  std::unique_ptr<Session> client_;
  std::unique_ptr<Session> server_;
  std::vector<size_t> sent_;
};

TEST_F(SessionTest, FillsRecordsAndBuffers) {
  connect(Records::kPerKeyMax);
  ASSERT_TRUE(seal(*client_, full_buffer()));
  EXPECT_EQ(carry(*client_, *server_), std::string(runtime::BufferPool::kBufferBytes, 'x'));
  // Four records of 16 KiB, with 22 bytes each for head, inner type and tag.
  constexpr size_t kSealed = runtime::BufferPool::kBufferBytes + 4 * 22;
  EXPECT_EQ(sum_of_sent(), kSealed);
  EXPECT_EQ(sent_.size(), 1U) << "a full buffer leaves in one send";
}

TEST_F(SessionTest, ChangesItsKeyBeforeItIsWornOut) {
  connect(/*records_per_key=*/3);
  size_t sealed = 0;
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(seal(*client_, full_buffer()));
    ASSERT_EQ(carry(*client_, *server_).size(), runtime::BufferPool::kBufferBytes);
    sealed += sum_of_sent();
  }
  constexpr size_t kUpdateBytes = 5 + 22;
  EXPECT_EQ(sealed, 5 * (runtime::BufferPool::kBufferBytes + 4 * 22) + 6 * kUpdateBytes)
      << "20 records, three to a key";
  ASSERT_TRUE(seal(*server_, pool_.copy_of("answer")));
  EXPECT_EQ(carry(*server_, *client_), "answer");
}

TEST_F(SessionTest, ReadsOnAfterItsOwnEnd) {
  connect(Records::kPerKeyMax);
  ASSERT_TRUE(client_->end());
  EXPECT_EQ(carry(*client_, *server_), "");
  EXPECT_TRUE(server_->open().value().value().empty());
  ASSERT_TRUE(seal(*server_, pool_.copy_of("more")));
  EXPECT_EQ(carry(*server_, *client_), "more");
  EXPECT_FALSE(seal(*client_, pool_.copy_of("late"))) << "nothing behind close_notify";
}

TEST_F(SessionTest, HandsOutWhatCameBeforeAnError) {
  connect(Records::kPerKeyMax);
  ASSERT_TRUE(seal(*client_, pool_.copy_of("good")));
  Buffer bytes = *client_->take_outgoing();
  const std::string forged = std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x');
  Buffer both = pool_.copy_of(std::string(bytes.text()) + forged);
  server_->feed(std::move(both));
  EXPECT_EQ(server_->open().value().value().text(), "good");
  EXPECT_EQ(server_->open().error().code, Code::kReset);
  EXPECT_EQ(server_->open().error().code, Code::kReset) << "an error is for good";
  EXPECT_FALSE(seal(*server_, pool_.copy_of("more")));
}

TEST_F(SessionTest, HoldsNoBufferWhenIdle) {
  connect(Records::kPerKeyMax);
  ASSERT_TRUE(seal(*client_, full_buffer()));
  carry(*client_, *server_);
  EXPECT_EQ(pool_.in_use(), 0U);
}

}  // namespace
}  // namespace weft::tls
