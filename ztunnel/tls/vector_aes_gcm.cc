// AES-GCM by the vector instructions for AES and carry-less multiplication (VAES, VPCLMULQDQ) on
// 512-bit registers: 16 blocks at a time, encrypted and hashed in one pass over the bytes. No
// table is looked up and no branch depends on a secret, so it takes the same time for all of them.
//
// GHASH is defined over bits in the opposite order of the processor's. As is usual, only bytes are
// reversed; the multiplication then comes out one bit short, which powers of the hash key that are
// multiplied by x beforehand make up for. A product of 256 bits is reduced by folding its low
// quarters upwards twice with the polynomial's constant.

#include "ztunnel/tls/aes_gcm.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>

namespace weft::tls {
namespace {

constexpr size_t kBlockBytes = 16;
constexpr size_t kLanes = 4;      // blocks of a register
constexpr size_t kRegisters = 4;  // in a pass of the main loop
constexpr size_t kPassBlocks = kLanes * kRegisters;
constexpr size_t kPassBytes = kPassBlocks * kBlockBytes;
constexpr size_t kRounds128 = 10;
constexpr size_t kRounds256 = 14;

#pragma clang attribute push(                                                               \
    __attribute__((target("aes,pclmul,sse4.1,avx2,avx512f,avx512bw,avx512dq,avx512vl,vaes," \
                          "vpclmulqdq"))),                                                  \
    apply_to = function)

__m128i reversed(__m128i block) {
  return _mm_shuffle_epi8(block,
                          _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

__m512i reversed(__m512i blocks) {
  const __m512i order =
      _mm512_broadcast_i32x4(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  return _mm512_shuffle_epi8(blocks, order);
}

// A sum of products that is not reduced yet.
struct Products {
  __m512i low{};
  __m512i middle{};
  __m512i high{};

  void add(__m512i a, __m512i b) {
    low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128(a, b, 0x00));
    high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128(a, b, 0x11));
    middle = _mm512_ternarylogic_epi64(middle, _mm512_clmulepi64_epi128(a, b, 0x01),
                                       _mm512_clmulepi64_epi128(a, b, 0x10), 0x96);
  }
  // Lane by lane.
  __m512i reduced() const {
    const __m512i fold = _mm512_set1_epi64(static_cast<long long>(0xc200000000000000ULL));
    const __m512i once = _mm512_ternarylogic_epi64(middle, _mm512_shuffle_epi32(low, _MM_PERM_BADC),
                                                   _mm512_clmulepi64_epi128(fold, low, 0x01), 0x96);
    return _mm512_ternarylogic_epi64(high, _mm512_shuffle_epi32(once, _MM_PERM_BADC),
                                     _mm512_clmulepi64_epi128(fold, once, 0x01), 0x96);
  }
  // All lanes together.
  __m128i sum() const {
    const __m512i lanes = reduced();
    const __m256i half =
        _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64(lanes, 1));
    return _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  }
};

__m128i multiplied(__m128i a, __m128i b) {
  Products product;
  product.add(_mm512_zextsi128_si512(a), _mm512_zextsi128_si512(b));
  return _mm512_castsi512_si128(product.reduced());
}

// The hash key times x, modulo the polynomial.
__m128i times_x(__m128i key) {
  const auto low = static_cast<uint64_t>(_mm_extract_epi64(key, 0));
  const auto high = static_cast<uint64_t>(_mm_extract_epi64(key, 1));
  const uint64_t carry = 0 - (high >> 63);
  return _mm_set_epi64x(
      static_cast<long long>((high << 1 | low >> 63) ^ (carry & 0xc200000000000000ULL)),
      static_cast<long long>((low << 1) ^ (carry & 1)));
}

// word ^ word << 32 ^ word << 64 ^ word << 96, of the key schedule.
__m128i spread(__m128i key) {
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  return _mm_xor_si128(key, _mm_slli_si128(key, 8));
}

// SubWord of the last word (rotated first, or not) in all four places: with equal columns the
// shift of rows in AESENCLAST does nothing.
__m128i substituted(__m128i key, bool rotate, int round_constant) {
  __m128i word = _mm_shuffle_epi32(key, 0xff);
  if (rotate) word = _mm_ror_epi32(word, 8);
  return _mm_aesenclast_si128(word, _mm_set1_epi32(round_constant));
}

__m128i loaded(const uint8_t* from, size_t bytes) {
  const auto mask = static_cast<__mmask16>((1U << bytes) - 1);
  return _mm_maskz_loadu_epi8(mask, from);
}

template <size_t kRounds>
class VectorAesGcm final : public AesGcm {
 public:
  explicit VectorAesGcm(std::span<const uint8_t> key);
  ~VectorAesGcm() override { OPENSSL_cleanse(&secrets_, sizeof secrets_); }

  bool seal(const Nonce& nonce, std::span<const uint8_t> additional, Pieces pieces,
            uint8_t* out) override;
  bool open(const Nonce& nonce, std::span<const uint8_t> additional,
            std::span<uint8_t> sealed) override;

 private:
  struct State {
    __m512i counters;  // of the next four blocks, their bytes reversed
    __m128i hash;
  };

  void expand(std::span<const uint8_t> key);
  __m128i encrypted(__m128i block) const;
  __m512i round_key(size_t round) const { return _mm512_broadcast_i32x4(secrets_.rounds[round]); }
  State begin(const Nonce& nonce, std::span<const uint8_t> additional) const;
  // As many whole passes as there are; returns the bytes done.
  template <bool kSealing>
  size_t passes(State& state, const uint8_t* from, uint8_t* into, size_t bytes) const;
  // Less than a pass; nothing follows unless it is a number of whole blocks.
  template <bool kSealing>
  void some(State& state, const uint8_t* from, uint8_t* into, size_t bytes) const;
  __m128i tag(const State& state, const Nonce& nonce, size_t additional, size_t text) const;

  struct Secrets {
    alignas(64) __m128i powers[kPassBlocks];  // of the hash key: the 16th first, the first last
    __m128i rounds[kRounds + 1];
  };
  Secrets secrets_;
};

template <size_t kRounds>
VectorAesGcm<kRounds>::VectorAesGcm(std::span<const uint8_t> key) {
  expand(key);
  __m128i* powers = secrets_.powers;
  powers[kPassBlocks - 1] = times_x(reversed(encrypted(_mm_setzero_si128())));
  for (size_t i = kPassBlocks - 1; i > 0; --i) {
    powers[i - 1] = multiplied(powers[i], powers[kPassBlocks - 1]);
  }
}

// FIPS 197, 5.2.
template <size_t kRounds>
void VectorAesGcm<kRounds>::expand(std::span<const uint8_t> key) {
  constexpr size_t kKeyBlocks = kRounds == kRounds256 ? 2 : 1;
  for (size_t i = 0; i < kKeyBlocks; ++i) {
    secrets_.rounds[i] = loaded(key.data() + i * kBlockBytes, kBlockBytes);
  }
  uint32_t constant = 1;
  for (size_t i = kKeyBlocks; i <= kRounds; ++i) {
    const bool rotate = i % kKeyBlocks == 0;
    const __m128i word =
        substituted(secrets_.rounds[i - 1], rotate, rotate ? static_cast<int>(constant) : 0);
    secrets_.rounds[i] = _mm_xor_si128(spread(secrets_.rounds[i - kKeyBlocks]), word);
    if (rotate) constant = constant << 1 ^ (constant >> 7) * 0x11b;
  }
}

template <size_t kRounds>
__m128i VectorAesGcm<kRounds>::encrypted(__m128i block) const {
  block = _mm_xor_si128(block, secrets_.rounds[0]);
  for (size_t i = 1; i < kRounds; ++i) block = _mm_aesenc_si128(block, secrets_.rounds[i]);
  return _mm_aesenclast_si128(block, secrets_.rounds[kRounds]);
}

__m128i first_block(const AesGcm::Nonce& nonce) {
  return _mm_insert_epi8(loaded(nonce.data(), nonce.size()), 1, 15);
}

template <size_t kRounds>
auto VectorAesGcm<kRounds>::begin(const Nonce& nonce, std::span<const uint8_t> additional) const
    -> State {
  // The first counter is the tag's.
  const __m512i numbers = _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 1);
  State state{_mm512_add_epi32(_mm512_broadcast_i32x4(reversed(first_block(nonce))), numbers),
              _mm_setzero_si128()};
  while (!additional.empty()) {
    const size_t size = std::min(additional.size(), kBlockBytes);
    const __m128i block = reversed(loaded(additional.data(), size));
    state.hash = multiplied(_mm_xor_si128(state.hash, block), secrets_.powers[kPassBlocks - 1]);
    additional = additional.subspan(size);
  }
  return state;
}

template <size_t kRounds>
template <bool kSealing>
size_t VectorAesGcm<kRounds>::passes(State& state, const uint8_t* from, uint8_t* into,
                                     size_t bytes) const {
  const __m512i four = _mm512_set_epi32(0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4);
  size_t done = 0;
  for (; bytes - done >= kPassBytes; done += kPassBytes) {
    __m512i stream[kRegisters];
    for (__m512i& part : stream) {
      part = _mm512_xor_si512(reversed(state.counters), round_key(0));
      state.counters = _mm512_add_epi32(state.counters, four);
    }
    for (size_t round = 1; round < kRounds; ++round) {
      for (__m512i& part : stream) part = _mm512_aesenc_epi128(part, round_key(round));
    }
    Products products;
    for (size_t i = 0; i < kRegisters; ++i) {
      const size_t at = done + i * sizeof(__m512i);
      const __m512i taken = _mm512_loadu_si512(from + at);
      // The last round adds its key, and so the text in the same step.
      const __m512i made =
          _mm512_aesenclast_epi128(stream[i], _mm512_xor_si512(round_key(kRounds), taken));
      _mm512_storeu_si512(into + at, made);
      __m512i hashed = reversed(kSealing ? made : taken);
      if (i == 0) hashed = _mm512_xor_si512(hashed, _mm512_zextsi128_si512(state.hash));
      products.add(hashed, _mm512_load_si512(secrets_.powers + i * kLanes));
    }
    state.hash = products.sum();
  }
  return done;
}

template <size_t kRounds>
template <bool kSealing>
void VectorAesGcm<kRounds>::some(State& state, const uint8_t* from, uint8_t* into,
                                 size_t bytes) const {
  if (bytes == 0) return;
  const size_t blocks = (bytes + kBlockBytes - 1) / kBlockBytes;
  const __m128i* powers = secrets_.powers + (kPassBlocks - blocks);
  Products products;
  size_t done = 0;  // blocks
  for (; done < blocks; done += kLanes) {
    const size_t lanes = std::min(blocks - done, kLanes);
    const size_t size = std::min(bytes - done * kBlockBytes, sizeof(__m512i));
    const uint64_t mask = ~uint64_t{0} >> (sizeof(__m512i) - size);
    __m512i stream = _mm512_xor_si512(reversed(state.counters), round_key(0));
    for (size_t i = 1; i < kRounds; ++i) stream = _mm512_aesenc_epi128(stream, round_key(i));
    const __m512i taken = _mm512_maskz_loadu_epi8(mask, from + done * kBlockBytes);
    const __m512i made =
        _mm512_aesenclast_epi128(stream, _mm512_xor_si512(round_key(kRounds), taken));
    _mm512_mask_storeu_epi8(into + done * kBlockBytes, mask, made);
    __m512i hashed = reversed(kSealing ? _mm512_maskz_mov_epi8(mask, made) : taken);
    if (done == 0) hashed = _mm512_xor_si512(hashed, _mm512_zextsi128_si512(state.hash));
    const auto used = static_cast<__mmask8>((1U << 2 * lanes) - 1);
    products.add(hashed, _mm512_maskz_loadu_epi64(used, powers + done));
    const auto step = static_cast<int>(lanes);
    state.counters =
        _mm512_add_epi32(state.counters, _mm512_broadcast_i32x4(_mm_set_epi32(0, 0, 0, step)));
  }
  state.hash = products.sum();
}

template <size_t kRounds>
__m128i VectorAesGcm<kRounds>::tag(const State& state, const Nonce& nonce, size_t additional,
                                   size_t text) const {
  const __m128i bits =
      _mm_set_epi64x(static_cast<long long>(additional * 8), static_cast<long long>(text * 8));
  const __m128i hash =
      multiplied(_mm_xor_si128(state.hash, bits), secrets_.powers[kPassBlocks - 1]);
  return _mm_xor_si128(reversed(hash), encrypted(first_block(nonce)));
}

template <size_t kRounds>
bool VectorAesGcm<kRounds>::seal(const Nonce& nonce, std::span<const uint8_t> additional,
                                 Pieces pieces, uint8_t* out) {
  State state = begin(nonce, additional);
  // What is left over of a piece waits here for the next one to fill a block.
  uint8_t carried[kBlockBytes];
  size_t carry = 0;
  size_t total = 0;
  for (std::span<const uint8_t> piece : pieces) {
    total += piece.size();
    if (carry > 0) {
      const size_t part = std::min(kBlockBytes - carry, piece.size());
      std::copy_n(piece.data(), part, carried + carry);
      carry += part;
      piece = piece.subspan(part);
      if (carry < kBlockBytes) continue;
      some<true>(state, carried, out, kBlockBytes);
      out += kBlockBytes;
      carry = 0;
    }
    size_t done = passes<true>(state, piece.data(), out, piece.size());
    const size_t more = (piece.size() - done) / kBlockBytes * kBlockBytes;
    some<true>(state, piece.data() + done, out + done, more);
    done += more;
    out += done;
    carry = piece.size() - done;
    std::copy_n(piece.data() + done, carry, carried);
  }
  some<true>(state, carried, out, carry);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + carry),
                   tag(state, nonce, additional.size(), total));
  return true;
}

template <size_t kRounds>
bool VectorAesGcm<kRounds>::open(const Nonce& nonce, std::span<const uint8_t> additional,
                                 std::span<uint8_t> sealed) {
  if (sealed.size() < kTagBytes) return false;
  const size_t size = sealed.size() - kTagBytes;
  State state = begin(nonce, additional);
  const size_t done = passes<false>(state, sealed.data(), sealed.data(), size);
  some<false>(state, sealed.data() + done, sealed.data() + done, size - done);
  const __m128i wrong =
      _mm_xor_si128(tag(state, nonce, additional.size(), size), loaded(&sealed[size], kTagBytes));
  return _mm_testz_si128(wrong, wrong) != 0;
}

std::unique_ptr<AesGcm> make_here(std::span<const uint8_t> key) {
  if (key.size() == 32) return std::make_unique<VectorAesGcm<kRounds256>>(key);
  return std::make_unique<VectorAesGcm<kRounds128>>(key);
}

#pragma clang attribute pop

bool is_supported() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("vaes") && __builtin_cpu_supports("vpclmulqdq");
}

}  // namespace

std::unique_ptr<AesGcm> make_vector_aes_gcm(std::span<const uint8_t> key) {
  static const bool supported = is_supported();
  return supported ? make_here(key) : nullptr;
}

}  // namespace weft::tls

#else

namespace weft::tls {

std::unique_ptr<AesGcm> make_vector_aes_gcm(std::span<const uint8_t> /*key*/) { return nullptr; }

}  // namespace weft::tls

#endif
