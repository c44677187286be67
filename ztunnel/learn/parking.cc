#include "ztunnel/learn/parking.h"

#include "ztunnel/base/log.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace weft::learn {
namespace {

constexpr std::string_view kMagic = "weft-parked 1\n";
constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

// Writes into room that was reserved beforehand, so that no copy of a key is left behind in memory
// that a growing string gave back.
class Writer {
 public:
  explicit Writer(size_t bytes) { bytes_.reserve(bytes); }
  void raw(std::string_view bytes) { bytes_.append(bytes); }
  void count(size_t value) {
    const uint32_t number = htonl(static_cast<uint32_t>(value));
    raw({reinterpret_cast<const char*>(&number), sizeof number});
  }
  void text(std::string_view text) {
    count(text.size());
    raw(text);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  std::optional<std::string_view> raw(size_t length) {
    if (length > rest_.size()) return std::nullopt;
    const std::string_view result = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return result;
  }
  std::optional<size_t> count(size_t max) {
    uint32_t number = 0;
    const auto bytes = raw(sizeof number);
    if (!bytes) return std::nullopt;
    std::memcpy(&number, bytes->data(), sizeof number);
    number = ntohl(number);
    if (number > max) return std::nullopt;
    return number;
  }
  std::optional<std::string_view> text() {
    const auto length = count(kParkedBytesMax);
    return length ? raw(*length) : std::nullopt;
  }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

size_t size_of(const tls::Credentials& credentials) {
  constexpr size_t kLengths = 5 * sizeof(uint32_t);
  size_t bytes = kLengths + credentials.identity.to_string().size() +
                 credentials.key_der.bytes().size() + credentials.roots_pem.size();
  for (const std::string& pem : credentials.chain_pem) bytes += sizeof(uint32_t) + pem.size();
  return bytes;
}

struct Entry {
  std::string_view identity;
  std::string_view key;
  std::vector<std::string> chain;  // with the roots last, as from_chain() wants it
};

std::optional<Entry> read_entry(Reader& reader) {
  Entry entry;
  const auto identity = reader.text();
  const auto key = reader.text();
  const auto length = reader.count(kParkedChainMax);
  if (!identity || !key || !length) return std::nullopt;
  entry.identity = *identity;
  entry.key = *key;
  for (size_t i = 0; i < *length + 1; ++i) {
    const auto pem = reader.text();
    if (!pem) return std::nullopt;
    entry.chain.emplace_back(*pem);
  }
  return entry;
}

Result<std::shared_ptr<const tls::Credentials>> restore(const Entry& entry,
                                                        std::chrono::system_clock::time_point now) {
  const SpiffeId identity = TRY(SpiffeId::parse(entry.identity));
  auto credentials =
      TRY(tls::Credentials::from_chain(tls::Secret(std::string(entry.key)), entry.chain, identity));
  if (credentials->not_after <= now) return fail(Code::kInvalid, "its certificate has expired");
  return credentials;
}

}  // namespace

Result<tls::Secret> encode_parked(const CredentialsList& credentials) {
  size_t bytes = kMagic.size() + sizeof(uint32_t);
  for (const auto& one : credentials) bytes += size_of(*one);
  if (bytes > kParkedBytesMax || credentials.size() > kParkedIdentitiesMax) {
    return fail(Code::kLimit, std::to_string(credentials.size()) + " identities of together " +
                                  std::to_string(bytes) + " bytes are too many to park");
  }
  Writer writer(bytes);
  writer.raw(kMagic);
  writer.count(credentials.size());
  for (const auto& one : credentials) {
    writer.text(one->identity.to_string());
    writer.text(one->key_der.bytes());
    writer.count(one->chain_pem.size());
    for (const std::string& pem : one->chain_pem) writer.text(pem);
    writer.text(one->roots_pem);
  }
  return tls::Secret(writer.take());
}

Result<CredentialsList> decode_parked(std::string_view bytes,
                                      std::chrono::system_clock::time_point now) {
  Reader reader(bytes);
  const auto magic = reader.raw(kMagic.size());
  if (!magic || *magic != kMagic) {
    return fail(Code::kInvalid, "not parked identities of this version");
  }
  const auto count = reader.count(kParkedIdentitiesMax);
  if (!count) return fail(Code::kInvalid, "parked identities: wrong count");
  CredentialsList result;
  for (size_t i = 0; i < *count; ++i) {
    const auto entry = read_entry(reader);
    if (!entry) return fail(Code::kInvalid, "parked identities: cut off or too long");
    auto credentials = restore(*entry, now);
    if (credentials) {
      result.push_back(std::move(*credentials));
    } else {
      log::warn("identity")
          .field("identity", entry->identity)
          .field("error", credentials.error().to_string())
          .say("a parked identity is of no use");
    }
  }
  if (!reader.at_end()) return fail(Code::kInvalid, "parked identities: they go on at the end");
  return result;
}

Result<Fd> park(const CredentialsList& credentials) {
  const tls::Secret secret = TRY(encode_parked(credentials));
  Fd memfd(memfd_create("weft-parked", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return fail_errno(errno, "memfd_create");
  std::string_view rest = secret.bytes();
  while (!rest.empty()) {
    const ssize_t written = write(memfd.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(errno, "writing parked identities");
    rest.remove_prefix(static_cast<size_t>(written));
  }
  if (fcntl(memfd.get(), F_ADD_SEALS, kSeals) != 0) return fail_errno(errno, "sealing a memfd");
  return memfd;
}

Result<CredentialsList> unpark(int memfd, std::chrono::system_clock::time_point now) {
  const int seals = fcntl(memfd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals) {
    return fail(Code::kInvalid, "parked identities: expected a sealed memfd");
  }
  struct stat status{};
  if (fstat(memfd, &status) != 0) return fail_errno(errno, "reading parked identities");
  if (status.st_size < 0 || static_cast<uint64_t>(status.st_size) > kParkedBytesMax) {
    return fail(Code::kInvalid, "parked identities: expected at most " +
                                    std::to_string(kParkedBytesMax) + " bytes, got " +
                                    std::to_string(status.st_size));
  }
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got =
        pread(memfd, bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    have += static_cast<size_t>(got);
  }
  const tls::Secret secret(std::move(bytes));
  if (have < secret.bytes().size()) return fail(Code::kInvalid, "parked identities: cut off");
  return decode_parked(secret.bytes(), now);
}

}  // namespace weft::learn
