#pragma once

#include "ztunnel/learn/ca_client.h"
#include "ztunnel/learn/parking.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/runtime/pause.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace weft::learn {

class IdentitySink {
 public:
  virtual ~IdentitySink() = default;
  virtual void identity_issued(std::shared_ptr<const tls::Credentials> credentials) = 0;
  // The CA did not give one; it is asked again. Only told while there is no valid certificate.
  virtual void identity_failed(const SpiffeId& identity, const Error& error) = 0;
  virtual void identity_gone(const SpiffeId& identity) = 0;
};

// The identities of this node's pods: a fresh key and a certificate for each, renewed at half life.
// While the CA fails, a certificate that is still valid is kept and the CA asked again, after 500
// ms at first and 150 s at most (Istio's ztunnel, 1.6). Belongs to the learner's thread.
class Identities {
 public:
  using Clock = std::function<std::chrono::system_clock::time_point()>;
  // What a CA should have to bear from one node at once.
  static constexpr size_t kInFlightMax = 8;
  // Over which the certificates of one node are renewed when the roots change: thousands of nodes
  // hear of it at once.
  static constexpr std::chrono::milliseconds kRenewSpread{5'000};

  struct Options {
    std::chrono::seconds lifetime;
    Clock clock;
    runtime::Backoff::Random random;
  };
  Identities(runtime::Loop& loop, CertificateAuthority& authority, IdentitySink& sink,
             Options options);

  // A pod of this identity came or went; with the last one its key and certificate are forgotten.
  void want(const SpiffeId& identity);
  void unwant(const SpiffeId& identity);
  // What an earlier ztunnel parked: used for identities that have none yet, also ones that are
  // wanted later, until drop_unclaimed().
  void restore(CredentialsList credentials);
  void drop_unclaimed() { unclaimed_.clear(); }
  // The mesh trusts these now. Certificates that came with others are asked for again within
  // kRenewSpread, each once for these roots: a CA may mean others by it than whoever wrote them.
  void roots_changed(std::string roots_pem);
  // Control can be reached again: asks at once for what failed.
  void retry_now();

  CredentialsList issued() const;
  std::vector<LearnerStatus::Certificate> status() const;

  runtime::Task<void> run();  // until stop()
  void stop();

 private:
  using TimePoint = std::chrono::system_clock::time_point;
  struct Entry {
    size_t pods = 0;
    std::shared_ptr<const tls::Credentials> credentials;
    std::optional<Error> failure;  // of the last attempt
    TimePoint next_attempt;
    bool in_flight = false;
    uint64_t generation = 0;  // tells an answer to a question of an earlier entry
    runtime::Backoff backoff;
    std::string asked_for_roots;  // those for which it was asked again
  };

  void allow_for_clock(TimePoint now);
  void start_due();
  std::chrono::milliseconds time_to_next() const;
  runtime::Task<void> attempt(SpiffeId identity, uint64_t generation);
  runtime::Task<Result<std::shared_ptr<const tls::Credentials>>> ask(SpiffeId identity);
  void keep_to_roots(Entry& entry);
  void accept(Entry& entry, std::shared_ptr<const tls::Credentials> credentials);
  void refuse(const SpiffeId& identity, Entry& entry, Error error);

  CertificateAuthority& authority_;
  IdentitySink& sink_;
  Options options_;
  std::map<SpiffeId, Entry> entries_;
  std::map<SpiffeId, std::shared_ptr<const tls::Credentials>> unclaimed_;
  std::string roots_pem_;  // empty: not known
  size_t in_flight_ = 0;
  uint64_t generations_ = 0;
  bool stopped_ = false;
  runtime::Pause pause_;
  runtime::TaskScope attempts_;
};

}  // namespace weft::learn
