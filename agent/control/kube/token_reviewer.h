#pragma once

#include "agent/control/kube/token_review.h"
#include "agent/control/kube/token_table.h"
#include "agent/identity/ca.h"
#include "agent/source/kube/api_client.h"
#include "ztunnel/runtime/sync.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace weft::control::kube {

// Authenticates callers by asking the API server (TokenReview, audience istio-ca). gRPC's threads
// call authenticate(), which never waits; the asking is done on the client's loop, and what is
// learnt is remembered (TokenTable). While no API server answers, a token that was once found good
// stays good until it runs out; one that was never seen is told to come again (kUnavailable).
class TokenReviewer final : public identity::Authenticator {
 public:
  // Tokens whose callers wait: a mesh's nodes after a restart; past it callers come again later.
  static constexpr size_t kWaitingMax = 5'000;
  // Callers of one token that wait for its one review; a ztunnel asks eight things at a time.
  static constexpr size_t kCallersMax = 64;
  static constexpr size_t kReviewsMax = 16;  // at once: an API server serves others, too

  // `node_proxies`: subjects that may ask for whatever runs on their node. `client` must outlive
  // this, and this every call of authenticate().
  TokenReviewer(source::kube::ApiClient& client, std::set<std::string> node_proxies,
                identity::Clock clock = std::chrono::system_clock::now);
  ~TokenReviewer() override;

  void authenticate(std::string token, Done done) const override;

  // On the loop's thread: whoever waits, and whoever comes from now on, is told kUnavailable.
  runtime::Task<void> stop();

  struct Counts {
    uint64_t reviews = 0;
    uint64_t refused = 0;   // by the API server
    uint64_t failures = 0;  // it could not be asked
    size_t known = 0;
  };
  Counts counts() const;

 private:
  // Shared with calls that were posted to the loop and not run yet.
  struct State;
  static runtime::Task<void> review(std::shared_ptr<State> state, std::string fingerprint,
                                    std::string token);
  static runtime::Task<Result<identity::Caller>> ask(std::shared_ptr<State> state,
                                                     std::string token);
  static bool is_known(State& state, const std::string& token);
  static void begin_reviews(const std::shared_ptr<State>& state);
  static void finish(const std::shared_ptr<State>& state, const std::string& fingerprint,
                     Result<identity::Caller> caller);

  std::shared_ptr<State> state_;
};

}  // namespace weft::control::kube
