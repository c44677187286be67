#include "ztunnel/learn/parking.h"

#include "tests/support/test_authority.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace weft::learn {
namespace {

using ::testing::HasSubstr;
using weft::testing::TestAuthority;

constexpr std::string_view kA = "spiffe://cluster.local/ns/shop/sa/a";
constexpr std::string_view kB = "spiffe://cluster.local/ns/shop/sa/b";

std::chrono::system_clock::time_point now() { return std::chrono::system_clock::now(); }

class Parking : public ::testing::Test {
 protected:
  TestAuthority authority_{"cluster.local"};
  CredentialsList two_{
      authority_.issue(kA),
      authority_.issue(kB, {.valid_until = std::chrono::seconds(60), .by_intermediate = true})};
};

TEST_F(Parking, RestoresWhatWasParked) {
  const auto memfd = park(two_);
  ASSERT_TRUE(memfd) << memfd.error().to_string();
  const auto restored = unpark(memfd->get(), now());
  ASSERT_TRUE(restored) << restored.error().to_string();
  ASSERT_EQ(restored->size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*restored)[i]->identity, two_[i]->identity);
    EXPECT_EQ((*restored)[i]->key_der.bytes(), two_[i]->key_der.bytes());
    EXPECT_EQ((*restored)[i]->serial, two_[i]->serial);
  }
  EXPECT_TRUE(unpark(memfd->get(), now())) << "it can be read more than once";
  const auto again = encode_parked(*restored);
  EXPECT_EQ(again->bytes(), encode_parked(*decode_parked(again->bytes(), now()))->bytes());
}

TEST_F(Parking, NobodyCanChangeIt) {
  const auto memfd = park(two_);
  ASSERT_TRUE(memfd);
  EXPECT_NE(fcntl(memfd->get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_LT(pwrite(memfd->get(), "x", 1, 0), 0);
  EXPECT_NE(ftruncate(memfd->get(), 0), 0);
  EXPECT_NE(ftruncate(memfd->get(), 1 << 20), 0);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memfd->get(), 0), MAP_FAILED);
}

TEST_F(Parking, LeavesOutWhatHasExpired) {
  const auto memfd = park(two_);
  const auto later = unpark(memfd->get(), now() + std::chrono::seconds(120));
  ASSERT_TRUE(later);
  ASSERT_EQ(later->size(), 1U);
  EXPECT_EQ(later->front()->identity.to_string(), kA);
}

TEST_F(Parking, LeavesOutAKeyThatDoesNotFit) {
  const auto other = authority_.issue(kA);
  tls::Credentials wrong;
  wrong.identity = two_[0]->identity;
  wrong.key_der = tls::Secret(other->key_der.bytes());
  wrong.chain_pem = two_[0]->chain_pem;
  wrong.roots_pem = two_[0]->roots_pem;
  const auto encoded =
      encode_parked({std::make_shared<const tls::Credentials>(std::move(wrong)), two_[1]});
  const auto restored = decode_parked(encoded->bytes(), now());
  ASSERT_TRUE(restored);
  ASSERT_EQ(restored->size(), 1U);
  EXPECT_EQ(restored->front()->identity.to_string(), kB);
}

TEST_F(Parking, MalformedBytesAreRefused) {
  const auto encoded = encode_parked(two_);
  ASSERT_TRUE(encoded);
  const std::string& good = encoded->bytes();
  ASSERT_TRUE(decode_parked(good, now()));
  for (size_t length = 0; length < good.size(); length += 13) {
    EXPECT_FALSE(decode_parked(std::string_view(good).substr(0, length), now())) << length;
  }
  EXPECT_FALSE(decode_parked(good + "x", now()));
  EXPECT_FALSE(decode_parked("weft-parked 1\n\xff\xff\xff\xff", now()));
  EXPECT_FALSE(decode_parked("weft-parked 2\n" + good.substr(14), now()));
}

TEST_F(Parking, UnsealedOrForeignDescriptorsAreRefused) {
  const auto encoded = encode_parked(two_);
  const Fd unsealed(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(write(unsealed.get(), encoded->bytes().data(), encoded->bytes().size()),
            static_cast<ssize_t>(encoded->bytes().size()));
  EXPECT_THAT(unpark(unsealed.get(), now()).error().to_string(), HasSubstr("sealed memfd"));
  ASSERT_EQ(fcntl(unsealed.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_THAT(unpark(unsealed.get(), now()).error().to_string(), HasSubstr("sealed memfd"));

  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(unpark(null.get(), now()));
  EXPECT_FALSE(unpark(-1, now()));

  const Fd huge(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(huge.get(), kParkedBytesMax + 1), 0);
  ASSERT_EQ(
      fcntl(huge.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
  EXPECT_THAT(unpark(huge.get(), now()).error().to_string(), HasSubstr("at most"));
}

TEST_F(Parking, TooManyAreRefused) {
  const CredentialsList many(kParkedIdentitiesMax + 1, two_[0]);
  EXPECT_EQ(encode_parked(many).error().code, Code::kLimit);
}

}  // namespace
}  // namespace weft::learn
