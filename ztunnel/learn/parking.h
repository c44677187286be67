#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"
#include "ztunnel/tls/credentials.h"

#include <chrono>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

// Identities that outlive a ztunnel: written into a sealed memfd that the node agent holds and
// hands to the next ztunnel. Keys are in it, so it is memory that never touches a disk and that
// nobody can change once it is sealed. The agent never reads it.
//
//   "weft-parked 1\n" | count | for each: identity | PKCS#8 key | count, chain in PEM.. | roots in
//   PEM where a count is 4 bytes, and each text a length of 4 bytes and its bytes, in network order

namespace weft::learn {

using CredentialsList = std::vector<std::shared_ptr<const tls::Credentials>>;

// 4096 identities of 4 KiB (kubelets run some hundred pods).
constexpr size_t kParkedBytesMax = 16U * 1024 * 1024;
constexpr size_t kParkedIdentitiesMax = 4096;
constexpr size_t kParkedChainMax = 16;

// kLimit where they do not fit.
Result<tls::Secret> encode_parked(const CredentialsList& credentials);
// All that are good and not expired at `now`; a wrong one is left out with a log line. kInvalid
// where the whole is not what encode_parked() makes.
Result<CredentialsList> decode_parked(std::string_view bytes,
                                      std::chrono::system_clock::time_point now);

// The same through a sealed memfd (F_SEAL_SEAL, SHRINK, GROW, WRITE). What is not sealed so is
// refused: somebody could change it while it is read.
Result<Fd> park(const CredentialsList& credentials);
Result<CredentialsList> unpark(int memfd, std::chrono::system_clock::time_point now);

}  // namespace weft::learn
