#include "agent/source/kube/reflector.h"

#include "agent/objects/tree.h"
#include "agent/source/kube/random.h"
#include "agent/source/kube/watch_lines.h"
#include "ztunnel/base/log.h"

#include <algorithm>

namespace weft::source::kube {
namespace {

using runtime::Task;

constexpr double kJitter = 0.5;
// A page of 500 large objects over a slow link. What is larger is asked for in smaller pages.
constexpr std::chrono::milliseconds kListTimeout{60'000};
constexpr size_t kPageBytesMax = 64U << 20;
constexpr std::chrono::milliseconds kWatchStartTimeout{30'000};
// A server ends a watch at its timeoutSeconds; one that does not is not waited for much longer.
constexpr std::chrono::seconds kWatchGrace{30};
// A list whose pages expire under us, or are too large, is begun again so often before it counts as
// a failure.
constexpr int kListTries = 4;
// A watch that ends sooner than this without a word was no watch.
constexpr std::chrono::seconds kShortWatch{1};

constexpr const char* kMetadataList =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
constexpr const char* kMetadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

using Parameters = std::vector<std::pair<std::string_view, std::string>>;

Parameters selected(const Resource& resource) {
  Parameters parameters;
  if (!resource.field_selector.empty()) {
    parameters.emplace_back("fieldSelector", resource.field_selector);
  }
  return parameters;
}

}  // namespace

Reflector::Reflector(ApiClient& client, Served served, Observer observer)
    : client_(client),
      mirror_(std::move(served)),
      observer_(std::move(observer)),
      backoff_(kBackoffFirst, kBackoffMax, kJitter, random_part),
      pause_(client.loop()) {}

void Reflector::stop() {
  stopped_ = true;
  pause_.wake();
  if (watching_ != nullptr) watching_->abort();
}

void Reflector::forget() {
  mirror_.clear();
  needs_list_ = true;
  if (watching_ != nullptr) watching_->abort();
}

Task<void> Reflector::run() {
  while (!stopped_) {
    was_refused_ = false;
    Result<void> done;
    if (needs_list_) {
      done = co_await list();
    } else {
      const auto outcome = co_await watch();
      if (!outcome) done = Fail(outcome.error());
      if (outcome && *outcome == Outcome::kExpired) needs_list_ = true;
    }
    if (stopped_) break;
    if (done) {
      backoff_.reset();
      refused_watches_ = 0;
      told_failure_.clear();
      failing_since_.reset();
    } else {
      co_await wait_after(done.error());
    }
  }
}

Task<void> Reflector::wait_after(const Error& error) {
  tell_failure(error);
  // What cannot be read as a change may be readable as an object.
  const bool is_nonsense = error.code == Code::kInvalid || error.code == Code::kLimit;
  if (was_refused_ && ++refused_watches_ >= kRefusedWatchesMax) needs_list_ = true;
  if (is_nonsense) needs_list_ = true;
  auto delay = backoff_.next();
  if (!was_refused_ && !is_nonsense) delay = std::min(delay, kNoLinkMax);
  delay = std::max(delay, retry_after_.value_or(delay));
  retry_after_.reset();
  co_await pause_.wait(delay);
}

void Reflector::tell_failure(Error error) {
  const Served& served = mirror_.served();
  Error whole = std::move(error).in(std::string(needs_list_ ? "listing " : "watching ") +
                                    served.collection());
  if (whole.code == Code::kCancelled || absent_) return;
  // A connection that breaks, a server that starts: an ordinary day. What was refused wants a
  // person.
  const auto now = client_.loop().now();
  if (!failing_since_) failing_since_ = now;
  const bool wants_a_person = whole.code == Code::kRefused || whole.code == Code::kInvalid ||
                              whole.code == Code::kLimit || whole.code == Code::kNotFound;
  if (mirror_.has_listed() && !wants_a_person && now - *failing_since_ < kOrdinary) return;
  const std::string text = whole.to_string();
  if (text == told_failure_) return;
  told_failure_ = text;
  observer_.failed(whole);
}

Error Reflector::refused(const Response& response) {
  const Refusal refusal = refusal_of(response);
  was_refused_ = true;
  absent_ = refusal.status == 404 && !mirror_.served().resource.built_in;
  retry_after_ = refusal.retry_after;
  return refusal.to_error();
}

Request Reflector::list_request(const std::string& next) const {
  const Served& served = mirror_.served();
  Parameters parameters = selected(served.resource);
  parameters.emplace_back("limit", std::to_string(page_objects_));
  if (!next.empty()) parameters.emplace_back("continue", next);
  return {.path = served.collection() + "?" + query(parameters),
          .accept = served.resource.metadata_only ? kMetadataList : kJson,
          .timeout = kListTimeout,
          .body_bytes_max = kPageBytesMax};
}

Task<Result<void>> Reflector::list() {
  for (int tries = 0; tries < kListTries; ++tries) {
    const auto outcome = co_await list_pages();
    if (!outcome) {
      // A page that is too large, or takes too long, is asked for in parts next time.
      const Code why = outcome.error().code;
      const bool can_shrink = page_objects_ > kPageObjectsMin;
      if (why == Code::kLimit || why == Code::kTimeout) {
        page_objects_ = std::max<size_t>(kPageObjectsMin, page_objects_ / 4);
      }
      if (why == Code::kLimit && can_shrink) continue;
      co_return Fail(outcome.error());
    }
    if (*outcome == Outcome::kExpired) continue;
    needs_list_ = false;
    absent_ = false;
    ++lists_;
    observer_.changed();
    co_return Result<void>();
  }
  co_return fail(Code::kUnavailable,
                 "the list expired before its last page, " + std::to_string(kListTries) + " times");
}

Task<Result<Reflector::Outcome>> Reflector::list_pages() {
  mirror_.begin_list();
  std::string next;
  do {
    auto response = co_await client_.request(list_request(next));
    if (stopped_) co_return fail(Code::kCancelled, "stopped");
    if (!response) co_return Fail(std::move(response.error()));
    if (!response->is_good()) {
      if (!next.empty() && refusal_of(*response).is_expired()) co_return Outcome::kExpired;
      co_return Fail(refused(*response));
    }
    next = CO_TRY(mirror_.add_page(response->body));
    observer_.changed();
  } while (!next.empty());
  mirror_.end_list();
  co_return Outcome::kWell;
}

Request Reflector::watch_request(std::chrono::seconds limit) const {
  const Served& served = mirror_.served();
  Parameters parameters = selected(served.resource);
  parameters.emplace_back("watch", "1");
  parameters.emplace_back("allowWatchBookmarks", "true");
  parameters.emplace_back("resourceVersion", mirror_.resource_version());
  parameters.emplace_back("timeoutSeconds", std::to_string(limit.count()));
  return {.path = served.collection() + "?" + query(parameters),
          .accept = served.resource.metadata_only ? kMetadata : kJson,
          .timeout = kWatchStartTimeout};
}

Task<Result<Reflector::Outcome>> Reflector::watch() {
  const auto limit = kWatchMin + std::chrono::duration_cast<std::chrono::seconds>(
                                     (kWatchMax - kWatchMin) * random_part());
  const std::string version_before = mirror_.resource_version();
  const auto began = client_.loop().now();
  auto stream = co_await client_.stream(watch_request(limit));
  if (stopped_) co_return fail(Code::kCancelled, "stopped");
  if (!stream) co_return Fail(std::move(stream.error()));
  if (!(*stream)->head().is_good()) {
    if (refusal_of((*stream)->head()).is_expired()) co_return Outcome::kExpired;
    co_return Fail(refused((*stream)->head()));
  }
  watching_ = stream->get();
  Result<Outcome> outcome = Outcome::kWell;
  {
    const runtime::Deadline deadline(client_.loop(), limit + kWatchGrace,
                                     [this] { watching_->abort(); });
    outcome = co_await read_events(**stream);
  }
  watching_ = nullptr;
  const bool was_short = client_.loop().now() - began < kShortWatch;
  if (outcome && *outcome == Outcome::kWell && was_short &&
      mirror_.resource_version() == version_before) {
    co_return fail(Code::kClosed, "the API server ended the watch at once");
  }
  co_return outcome;
}

Task<Result<Reflector::Outcome>> Reflector::read_events(ResponseStream& stream) {
  WatchLines lines(objects::kTextBytesMax);
  while (true) {
    const auto bytes = co_await stream.read();
    if (!bytes) co_return Fail(bytes.error());
    // An event that was cut is sent again by the next watch, whole.
    if (bytes->empty()) co_return Outcome::kWell;
    lines.feed(bytes->text());
    while (true) {
      const auto line = CO_TRY(lines.next());
      if (!line) break;
      const bool go_on = CO_TRY(mirror_.add_event(*line));
      if (!go_on) co_return Outcome::kExpired;
    }
    observer_.changed();
  }
}

}  // namespace weft::source::kube
