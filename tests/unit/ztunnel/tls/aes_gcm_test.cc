#include "ztunnel/tls/aes_gcm.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

// Both ways to do AES-GCM: against published vectors, and against each other.

namespace weft::tls {
namespace {

using Bytes = std::vector<uint8_t>;
using Maker = std::unique_ptr<AesGcm> (*)(std::span<const uint8_t>);

Bytes from_hex(std::string_view text) {
  Bytes bytes;
  for (size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

std::unique_ptr<AesGcm> by_openssl(std::span<const uint8_t> key) {
  return make_openssl_aes_gcm(key, nullptr);
}

// Cases 4 and 16 of the GCM specification (McGrew and Viega, appendix B).
struct Vector {
  std::string_view key, sealed, tag;
};
constexpr std::string_view kPlain =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b5"
    "25b16aedf5aa0de657ba637b39";
constexpr std::string_view kAdditional = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
constexpr std::string_view kNonce = "cafebabefacedbaddecaf888";
constexpr Vector kVectors[] = {{"feffe9928665731c6d6a8f9467308308",
                                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21"
                                "d514b25466931c7d8f6a5aac84aa"
                                "051ba30b396a0aac973d58e091",
                                "5bc94fbc3221a5db94fae95ae7121a47"},
                               {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
                                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8c"
                                "b08e48590dbb3da7b08b10568288"
                                "38c5f61e6393ba7a0abcc9f662",
                                "76fc6ece0f4e1768cddf8853bb2d551b"}};

class AesGcmTest : public ::testing::TestWithParam<Maker> {
 public:
  void SetUp() override {
    if (GetParam()(Bytes(16)) == nullptr) GTEST_SKIP() << "no AVX-512, VAES or VPCLMULQDQ";
  }
};

AesGcm::Nonce nonce_of(std::string_view hex) {
  AesGcm::Nonce nonce{};
  std::ranges::copy(from_hex(hex), nonce.begin());
  return nonce;
}

TEST_P(AesGcmTest, DoesAsTheSpecificationSays) {
  for (const Vector& row : kVectors) {
    const Bytes plain = from_hex(kPlain);
    const Bytes additional = from_hex(kAdditional);
    const auto cipher = GetParam()(from_hex(row.key));
    Bytes sealed(plain.size() + AesGcm::kTagBytes);
    const std::span<const uint8_t> pieces[] = {plain};
    ASSERT_TRUE(cipher->seal(nonce_of(kNonce), additional, pieces, sealed.data()));
    EXPECT_EQ(sealed, from_hex(std::string(row.sealed) + std::string(row.tag)));
    ASSERT_TRUE(cipher->open(nonce_of(kNonce), additional, sealed));
    EXPECT_TRUE(std::equal(plain.begin(), plain.end(), sealed.begin()));
  }
}

TEST_P(AesGcmTest, RefusesEveryChangedBit) {
  const Bytes plain(37, 'p');
  const std::span<const uint8_t> pieces[] = {plain};
  const auto cipher = GetParam()(Bytes(16, 'k'));
  const AesGcm::Nonce nonce{};
  Bytes additional{1, 2, 3, 4, 5};
  Bytes sealed(plain.size() + AesGcm::kTagBytes);
  ASSERT_TRUE(cipher->seal(nonce, additional, pieces, sealed.data()));
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    Bytes forged = sealed;
    forged[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
    EXPECT_FALSE(cipher->open(nonce, additional, forged)) << bit;
  }
  for (const size_t size : {0, 15, 16, 52}) {
    Bytes shorter(sealed.begin(), sealed.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_FALSE(cipher->open(nonce, additional, shorter)) << size;
  }
  additional.back() ^= 1;
  EXPECT_FALSE(cipher->open(nonce, additional, sealed));
}

INSTANTIATE_TEST_SUITE_P(By, AesGcmTest, ::testing::Values(make_vector_aes_gcm, by_openssl),
                         [](const auto& info) {
                           return info.param == make_vector_aes_gcm ? "Vectors" : "Openssl";
                         });

// Any length, cut into any pieces, beginning at any address.
TEST(AesGcmPairTest, BothAgree) {
  std::mt19937 random(7);
  const auto any = [&random](size_t size) {
    Bytes bytes(size);
    for (uint8_t& one : bytes) one = static_cast<uint8_t>(random());
    return bytes;
  };
  if (make_vector_aes_gcm(any(16)) == nullptr) GTEST_SKIP() << "no AVX-512, VAES or VPCLMULQDQ";
  for (int round = 0; round < 3000; ++round) {
    const Bytes key = any(random() % 2 == 0 ? 16 : 32);
    const Bytes additional = any(random() % 40);
    const size_t size = random() % (random() % 8 == 0 ? 17'000 : 600);
    const Bytes plain = any(size + 64);
    AesGcm::Nonce nonce{};
    std::ranges::copy(any(nonce.size()), nonce.begin());
    std::vector<std::span<const uint8_t>> pieces;
    std::span<const uint8_t> rest = std::span(plain).subspan(random() % 64, size);
    while (!rest.empty()) {
      const size_t part = std::min<size_t>(rest.size(), random() % (random() % 2 ? 30 : 9000));
      pieces.push_back(rest.first(part));
      rest = rest.subspan(part);
    }
    const auto vectors = make_vector_aes_gcm(key);
    const auto openssl = by_openssl(key);
    Bytes ours(size + AesGcm::kTagBytes);
    Bytes theirs(size + AesGcm::kTagBytes);
    ASSERT_TRUE(vectors->seal(nonce, additional, pieces, ours.data()));
    ASSERT_TRUE(openssl->seal(nonce, additional, pieces, theirs.data()));
    ASSERT_EQ(ours, theirs) << size << " bytes in " << pieces.size() << " pieces";
    ASSERT_TRUE(vectors->open(nonce, additional, theirs));
    ASSERT_TRUE(openssl->open(nonce, additional, ours));
    ASSERT_TRUE(std::equal(theirs.begin(), theirs.end() - AesGcm::kTagBytes, ours.begin()));
  }
}

}  // namespace
}  // namespace weft::tls
