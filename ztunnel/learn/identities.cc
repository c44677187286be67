#include "ztunnel/learn/identities.h"

#include "ztunnel/base/log.h"

#include <algorithm>

namespace weft::learn {
namespace {

using runtime::Task;

constexpr std::chrono::milliseconds kBackoffFirst{500};
constexpr std::chrono::milliseconds kBackoffMax{150'000};
constexpr double kJitter = 0.2;
// Looks at the clock at least this often, since the wall clock may be set while we wait.
constexpr std::chrono::milliseconds kLookEvery{30'000};
// Between a certificate and the request for its successor, whatever its dates say: a CA that hands
// out certificates past their half life is not asked in a loop.
constexpr std::chrono::milliseconds kRenewGapMin{500};

}  // namespace

Identities::Identities(runtime::Loop& loop, CertificateAuthority& authority, IdentitySink& sink,
                       Options options)
    : authority_(authority), sink_(sink), options_(std::move(options)), pause_(loop) {}

void Identities::want(const SpiffeId& identity) {
  const auto [found, is_new] = entries_.try_emplace(
      identity, Entry{.pods = 0,
                      .credentials = nullptr,
                      .failure = std::nullopt,
                      .next_attempt = options_.clock(),
                      .in_flight = false,
                      .generation = ++generations_,
                      .backoff = {kBackoffFirst, kBackoffMax, kJitter, options_.random},
                      .asked_for_roots = {}});
  Entry& entry = found->second;
  ++entry.pods;
  if (!is_new) return;
  if (auto parked = unclaimed_.extract(identity)) accept(entry, std::move(parked.mapped()));
  pause_.wake();
}

void Identities::unwant(const SpiffeId& identity) {
  const auto found = entries_.find(identity);
  if (found == entries_.end() || --found->second.pods > 0) return;
  entries_.erase(found);
  sink_.identity_gone(identity);
}

void Identities::restore(CredentialsList credentials) {
  for (auto& one : credentials) {
    const auto found = entries_.find(one->identity);
    if (found == entries_.end()) {
      const SpiffeId identity = one->identity;
      unclaimed_[identity] = std::move(one);
    } else if (found->second.credentials == nullptr) {
      accept(found->second, std::move(one));
    }
  }
  pause_.wake();
}

void Identities::roots_changed(std::string roots_pem) {
  if (roots_pem == roots_pem_) return;
  roots_pem_ = std::move(roots_pem);
  for (auto& [identity, entry] : entries_) keep_to_roots(entry);
  pause_.wake();
}

void Identities::keep_to_roots(Entry& entry) {
  if (roots_pem_.empty() || entry.credentials == nullptr || entry.in_flight) return;
  if (entry.credentials->roots_pem == roots_pem_ || entry.asked_for_roots == roots_pem_) return;
  entry.asked_for_roots = roots_pem_;
  const auto within = std::chrono::milliseconds(
      static_cast<int64_t>(static_cast<double>(kRenewSpread.count()) * options_.random()));
  entry.next_attempt = std::min<TimePoint>(entry.next_attempt, options_.clock() + within);
}

void Identities::retry_now() {
  for (auto& [identity, entry] : entries_) {
    if (!entry.failure) continue;
    entry.backoff.reset();
    entry.next_attempt = options_.clock();
  }
  pause_.wake();
}

CredentialsList Identities::issued() const {
  CredentialsList result;
  for (const auto& [identity, entry] : entries_) {
    if (entry.credentials != nullptr) result.push_back(entry.credentials);
  }
  return result;
}

std::vector<LearnerStatus::Certificate> Identities::status() const {
  std::vector<LearnerStatus::Certificate> result;
  const TimePoint now = options_.clock();
  for (const auto& [identity, entry] : entries_) {
    LearnerStatus::Certificate& one = result.emplace_back();
    one.identity = identity;
    one.state = entry.failure ? "failed: " + entry.failure->to_string() : "waiting";
    if (entry.credentials == nullptr) continue;
    one.serial = entry.credentials->serial;
    one.not_after = entry.credentials->not_after;
    if (one.not_after > now) one.state = "available";
  }
  return result;
}

Task<void> Identities::run() {
  while (!stopped_) {
    start_due();
    co_await pause_.wait(time_to_next());
  }
  co_await attempts_.join();
}

void Identities::stop() {
  stopped_ = true;
  authority_.abort();
  pause_.wake();
}

// The wall clock may have been set back: what was to happen in a minute must not wait for a day.
void Identities::allow_for_clock(TimePoint now) {
  for (auto& [identity, entry] : entries_) {
    TimePoint latest = now + kBackoffMax;
    if (entry.credentials != nullptr && !entry.failure) {
      const auto half_life = (entry.credentials->not_after - entry.credentials->not_before) / 2;
      latest = now + std::max<TimePoint::duration>(half_life, kRenewGapMin);
    }
    entry.next_attempt = std::min(entry.next_attempt, latest);
  }
}

void Identities::start_due() {
  const TimePoint now = options_.clock();
  allow_for_clock(now);
  // Those without a certificate go first: somebody may be waiting for them.
  for (const bool renewals : {false, true}) {
    std::vector<std::pair<SpiffeId, uint64_t>> due;
    for (auto& [identity, entry] : entries_) {
      const bool renewal = entry.credentials != nullptr;
      if (renewal != renewals || entry.in_flight || entry.next_attempt > now) continue;
      if (in_flight_ + due.size() >= kInFlightMax) break;
      entry.in_flight = true;
      due.emplace_back(identity, entry.generation);
    }
    in_flight_ += due.size();
    for (auto& [identity, generation] : due) {
      attempts_.spawn(attempt(std::move(identity), generation));
    }
  }
}

std::chrono::milliseconds Identities::time_to_next() const {
  if (in_flight_ >= kInFlightMax) return kLookEvery;  // the end of an attempt wakes us
  const TimePoint now = options_.clock();
  auto result = kLookEvery;
  for (const auto& [identity, entry] : entries_) {
    if (entry.in_flight) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(entry.next_attempt - now);
    result = std::clamp(left, std::chrono::milliseconds::zero(), result);
  }
  return result;
}

Task<void> Identities::attempt(SpiffeId identity, uint64_t generation) {
  auto credentials = co_await ask(identity);
  --in_flight_;
  const auto found = entries_.find(identity);
  // Its last pod may have left meanwhile.
  if (!stopped_ && found != entries_.end() && found->second.generation == generation) {
    found->second.in_flight = false;
    if (credentials) {
      accept(found->second, std::move(*credentials));
    } else {
      refuse(identity, found->second, std::move(credentials.error()));
    }
  }
  pause_.wake();
}

Task<Result<std::shared_ptr<const tls::Credentials>>> Identities::ask(SpiffeId identity) {
  tls::Secret key = CO_TRY(tls::generate_key());
  std::string csr = CO_TRY(tls::make_csr(key, identity));
  auto chain = co_await authority_.create_certificate(std::move(csr), identity, options_.lifetime);
  if (!chain) co_return Fail(std::move(chain.error()));
  co_return tls::Credentials::from_chain(std::move(key), *chain, identity);
}

void Identities::accept(Entry& entry, std::shared_ptr<const tls::Credentials> credentials) {
  entry.credentials = credentials;
  entry.failure.reset();
  entry.backoff.reset();
  entry.next_attempt = std::max(credentials->renew_at(), options_.clock() + kRenewGapMin);
  keep_to_roots(entry);
  log::info("identity")
      .field("identity", credentials->identity.to_string())
      .bare("serial", credentials->serial)
      .say("certificate available");
  sink_.identity_issued(std::move(credentials));
}

void Identities::refuse(const SpiffeId& identity, Entry& entry, Error error) {
  const TimePoint now = options_.clock();
  TimePoint next = now + entry.backoff.next();
  const bool valid = entry.credentials != nullptr && entry.credentials->not_after > now;
  if (valid) next = std::min(next, entry.credentials->not_after);
  entry.next_attempt = next;
  log::warn("identity")
      .field("identity", identity.to_string())
      .field("error", error.to_string())
      .say(valid ? "certificate not renewed; the present one is kept" : "no certificate");
  if (!valid) sink_.identity_failed(identity, error);
  entry.failure = std::move(error);
}

}  // namespace weft::learn
