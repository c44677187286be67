#pragma once

#include "agent/source/kube/api_client.h"
#include "agent/source/kube/mirror.h"
#include "ztunnel/runtime/pause.h"

#include <functional>
#include <optional>

namespace weft::source::kube {

// Keeps one resource's mirror true: a list in pages, then watches that begin where the last one
// ended, and a list again where the server has forgotten that. Belongs to one loop's thread.
class Reflector {
 public:
  // Objects in a page: a pod is about 8 KB, so 4 MB of JSON at a time.
  static constexpr size_t kPageObjects = 500;
  static constexpr size_t kPageObjectsMin =
      10;  // a page of these, each as large as etcd takes, fits
  // As client-go: a watch is renewed after 5 to 10 minutes, so that load spreads over API servers.
  static constexpr std::chrono::seconds kWatchMin{300};
  static constexpr std::chrono::seconds kWatchMax{600};
  static constexpr std::chrono::milliseconds kBackoffFirst{200};
  static constexpr std::chrono::milliseconds kBackoffMax{10'000};
  // While there is no connection: the link has a back-off of its own, for all of us.
  static constexpr std::chrono::milliseconds kNoLinkMax{1'000};
  // A version that the server cannot continue from is not always called expired: etcd restored from
  // a backup answers that it has not come so far. Then a list helps.
  static constexpr int kRefusedWatchesMax = 3;
  // What fails for so long is said, though all goes on with what is known.
  static constexpr std::chrono::seconds kOrdinary{20};

  // `changed`: the mirror may have something to tell. `failed`: what is wrong with the resource as
  // a whole, said once until it goes well again.
  struct Observer {
    std::function<void()> changed;
    std::function<void(const Error&)> failed;
  };

  Reflector(ApiClient& client, Served served, Observer observer);

  runtime::Task<void> run();  // until stop()
  void stop();
  // Tries at once what it waits for.
  void kick() { pause_.wake(); }
  // Its CRD was removed, and its objects with it; it asks again, rarely and in silence.
  void forget();
  bool is_absent() const { return absent_; }

  Mirror& mirror() { return mirror_; }
  const Mirror& mirror() const { return mirror_; }
  uint64_t lists() const { return lists_; }

 private:
  enum class Outcome { kWell, kExpired };

  runtime::Task<Result<void>> list();
  runtime::Task<Result<Outcome>> list_pages();
  runtime::Task<Result<Outcome>> watch();
  runtime::Task<Result<Outcome>> read_events(ResponseStream& stream);
  Request list_request(const std::string& next) const;
  Request watch_request(std::chrono::seconds limit) const;
  Error refused(const Response& response);
  runtime::Task<void> wait_after(const Error& error);
  void tell_failure(Error error);

  ApiClient& client_;
  Mirror mirror_;
  Observer observer_;
  runtime::Backoff backoff_;
  runtime::Pause pause_;
  size_t page_objects_ = kPageObjects;
  bool needs_list_ = true;
  bool stopped_ = false;
  bool absent_ = false;  // the server does not know the resource (any more)
  uint64_t lists_ = 0;
  bool was_refused_ = false;  // the latest failure was an answer
  int refused_watches_ = 0;   // in a row
  std::optional<std::chrono::milliseconds> retry_after_;
  std::string told_failure_;
  std::optional<std::chrono::steady_clock::time_point> failing_since_;
  ResponseStream* watching_ = nullptr;
};

}  // namespace weft::source::kube
