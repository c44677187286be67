#include "ztunnel/tls/aes_gcm.h"

namespace weft::tls {
namespace {

using CipherPtr = std::unique_ptr<EVP_CIPHER, CipherFree>;
using CipherContextPtr = std::unique_ptr<EVP_CIPHER_CTX, CipherFree>;

class OpensslAesGcm final : public AesGcm {
 public:
  OpensslAesGcm(CipherPtr cipher, CipherContextPtr context)
      : cipher_(std::move(cipher)), context_(std::move(context)) {}

  bool set_key(std::span<const uint8_t> key) {
    return EVP_CipherInit_ex2(context_.get(), cipher_.get(), key.data(), nullptr, 1, nullptr) == 1;
  }

  bool seal(const Nonce& nonce, std::span<const uint8_t> additional, Pieces pieces,
            uint8_t* out) override {
    bool good = begin(nonce, additional, /*sealing=*/1);
    for (const std::span<const uint8_t> piece : pieces) {
      good = good && pass(piece, out);
      out += piece.size();
    }
    int none = 0;
    return good && EVP_CipherFinal_ex(context_.get(), out, &none) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, out) == 1;
  }

  bool open(const Nonce& nonce, std::span<const uint8_t> additional,
            std::span<uint8_t> sealed) override {
    if (sealed.size() < kTagBytes) return false;
    const std::span<uint8_t> body = sealed.first(sealed.size() - kTagBytes);
    int none = 0;
    return begin(nonce, additional, /*sealing=*/0) && pass(body, body.data()) &&
           EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes,
                               sealed.data() + body.size()) == 1 &&
           EVP_CipherFinal_ex(context_.get(), sealed.data() + body.size(), &none) == 1;
  }

 private:
  bool begin(const Nonce& nonce, std::span<const uint8_t> additional, int sealing) {
    int done = 0;
    return EVP_CipherInit_ex2(context_.get(), nullptr, nullptr, nonce.data(), sealing, nullptr) ==
               1 &&
           EVP_CipherUpdate(context_.get(), nullptr, &done, additional.data(),
                            static_cast<int>(additional.size())) == 1;
  }
  bool pass(std::span<const uint8_t> from, uint8_t* into) {
    int done = 0;
    return from.empty() || EVP_CipherUpdate(context_.get(), into, &done, from.data(),
                                            static_cast<int>(from.size())) == 1;
  }

  CipherPtr cipher_;
  CipherContextPtr context_;
};

}  // namespace

std::unique_ptr<AesGcm> make_openssl_aes_gcm(std::span<const uint8_t> key, OSSL_LIB_CTX* library) {
  const char* name = key.size() == 32 ? "AES-256-GCM" : "AES-128-GCM";
  CipherPtr cipher(EVP_CIPHER_fetch(library, name, nullptr));
  CipherContextPtr context(EVP_CIPHER_CTX_new());
  if (cipher == nullptr || context == nullptr) return nullptr;
  auto made = std::make_unique<OpensslAesGcm>(std::move(cipher), std::move(context));
  if (!made->set_key(key)) return nullptr;
  return made;
}

std::unique_ptr<AesGcm> make_aes_gcm(std::span<const uint8_t> key, OSSL_LIB_CTX* library) {
  if (std::unique_ptr<AesGcm> made = make_vector_aes_gcm(key)) return made;
  return make_openssl_aes_gcm(key, library);
}

}  // namespace weft::tls
