#pragma once

#include "agent/xds/response.h"
#include "agent/xds/store.h"
#include "proto/xds.pb.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::xds {

constexpr std::string_view kAuthorizationType = "istio.security.Authorization";
constexpr std::string_view kAddressType = "istio.workload.Address";

// Each resource of ours is one waypoint's, whose "<namespace>/<name>/" its name begins with.
constexpr std::string_view kWaypointTypesPrefix = "weft.";

// A node subscribes to two types, a waypoint to four; others are answered with nothing, but cost a
// little state.
constexpr size_t kTypesMax = 16;
// A client that subscribes by name asks for what its pods use; a whole large mesh is below this.
constexpr size_t kNamesMax = 200'000;
constexpr size_t kNameBytesMax = 1024;
// Later responses are cut here, so that a slow peer does not cost a mesh's worth of memory. The
// first of a type is never cut: clients take it for the complete set.
constexpr size_t kResponseBytesMax = 4 * 1024 * 1024;
// How much of a refusal is kept and logged: of its reason, and names of what it refused.
constexpr size_t kNackBytesMax = 1024;
constexpr size_t kNackNamesMax = 5;

// One stream's side of delta xDS, without I/O: requests in, batches out. What changed is kept as a
// set of names and looked up when it is sent, so that a subscriber that does not read costs a
// bounded set and gets the latest state. Of what it asked for and what is not in that set, it has
// the store's version: so nothing is remembered of a client that has everything.
//
// At most one response of a type is unanswered. Across types: an Address goes out after every
// Authorization of the same or an earlier update was answered, and an Authorization's removal after
// every such Address was. Sequence numbers of updates, not "nothing is pending", decide: so a
// storm of policies does not starve addresses.
class Subscription {
 public:
  // What a request said about an earlier response.
  struct Answer {
    bool acked = false;
    bool nacked = false;
    std::string type;
    std::string nonce;
    std::string reason;                // of a NACK
    std::vector<Text> refused;         // the first of what the response held
    size_t refused_count = 0;          // of all that it held
    bool is_new_unknown_type = false;  // to be logged once
  };
  // Of waypoints' resources, those whose names begin with `own`; empty: none. To be called first.
  void restrict_to(std::string own) { own_ = std::move(own); }

  // kLimit or kInvalid: the stream is to be ended with that.
  Result<Answer> take(const envoy::service::discovery::v3::DeltaDiscoveryRequest& request,
                      const Store& store);
  // A resource came, changed or went in the update with this number, which is in the store.
  void mark(const Store::Changed& changed, uint64_t sequence);
  // The next response to be sent now, if any; it is in flight from here on.
  std::optional<Batch> next(const Store& store);

  // Names that wait, of all types: at most what is there, what the client has and what it asked for
  // by name. A resource that came and went meanwhile leaves nothing.
  size_t queued() const;

 private:
  static constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

  struct Change {
    uint64_t first = 0;   // the first update since the name was last sent
    uint64_t last = 0;    // the latest one
    bool forced = false;  // asked for by name: to be answered even if nothing changed
    Text known{};         // the version that the client has; null: it has none
  };
  using Changes = std::map<Text, Change, TextLess>;
  struct Type {
    bool wildcard = false;
    bool first_pending = true;  // the first response has not been made yet
    // That one is to hold everything there is when it is made; `changes` has then only what was
    // asked for by name besides.
    bool first_is_all = false;
    uint64_t since = 0;                        // the update after which it was subscribed
    std::set<std::string, std::less<>> names;  // subscribed by name
    Changes changes;
    std::string in_flight;              // its nonce; empty: none
    uint64_t in_flight_first = kNever;  // the lowest Change::first in it that others wait for
    std::vector<Text> in_flight_names;  // the first of them
    size_t in_flight_count = 0;
  };

  Result<void> take_versions(Type& type, std::string_view type_name,
                             const envoy::service::discovery::v3::DeltaDiscoveryRequest& request,
                             const Store& store);
  void want_all(Type& type, std::string_view type_name,
                const envoy::service::discovery::v3::DeltaDiscoveryRequest& request, bool is_first,
                const Store& store);
  Result<void> subscribe(Type& type, std::string_view type_name,
                         const envoy::service::discovery::v3::DeltaDiscoveryRequest& request,
                         bool is_first, const Store& store);
  static void unsubscribe(Type& type, std::string_view name, std::string_view type_name,
                          const Store& store);
  static void forget_unsubscribed(Type& type);
  // Forgets changes that left nothing to say to this client.
  static void settle(Type& type, std::string_view type_name, const Store& store);
  static uint64_t lowest(const Type& type, std::string_view type_name, const Store& store,
                         bool count_removals);
  uint64_t limit_for(std::string_view type_name, bool removal, const Store& store) const;
  static bool is_due(const Type& type, std::string_view type_name, uint64_t limit,
                     const Store& store);
  std::optional<Batch> next_of(Type& type, const std::string& type_name, const Store& store);

  bool may_see(std::string_view type_name, std::string_view name) const {
    if (!type_name.starts_with(kWaypointTypesPrefix)) return true;
    return !own_.empty() && name.starts_with(own_);
  }

  std::string own_;
  std::map<std::string, Type, std::less<>> types_;
  uint64_t nonce_ = 0;
};

}  // namespace weft::xds
