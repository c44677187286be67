#pragma once

#include "agent/objects/object.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weft::analyze {

enum class Level { kInfo, kWarning, kError };
std::string_view to_string(Level level);  // "Info", "Warning", "Error", as istioctl says them

// One thing that can be found. Codes of the form IST.. and their levels are Istio's; where Istio
// has none for it, the code is ours.
struct Rule {
  std::string_view code;
  Level level;
  std::string_view title;
};

inline constexpr Rule kMissing{"IST0101", Level::kError, "what is referred to does not exist"};
inline constexpr Rule kMalformed{"IST0106", Level::kError, "the object is malformed"};
inline constexpr Rule kSidecarsOverlap{"IST0110", Level::kError, "Sidecars select one workload"};
inline constexpr Rule kTwoSidecars{"IST0111", Level::kError, "two Sidecars for a namespace"};
inline constexpr Rule kTwoLabels{"IST0123", Level::kWarning, "labels that contradict each other"};
inline constexpr Rule kSelectsNothing{"IST0127", Level::kWarning, "a selector matches no workload"};
inline constexpr Rule kAddressesRequired{"IST0134", Level::kWarning, "a host needs an address"};
inline constexpr Rule kNoEffect{"IST0167", Level::kWarning, "a policy has no effect"};
inline constexpr Rule kConflictingHosts{"IST0109", Level::kError,
                                        "two VirtualServices are for one host"};
inline constexpr Rule kPortRequired{"IST0112", Level::kError, "a destination needs a port"};
inline constexpr Rule kUnreachableRule{"IST0130", Level::kWarning, "a rule is never asked"};
inline constexpr Rule kIneffectiveMatch{"IST0131", Level::kInfo, "a match never decides"};
inline constexpr Rule kSubsetSelectsNothing{"IST0173", Level::kError, "a subset has no pods"};
inline constexpr Rule kUnknownHost{"IST0174", Level::kWarning, "a DestinationRule's unknown host"};

inline constexpr Rule kForeign{"WEFT0001", Level::kInfo, "an object of a kind that is not read"};
inline constexpr Rule kTwice{"WEFT0002", Level::kError, "an object is there twice"};
inline constexpr Rule kNotHonoured{"WEFT0101", Level::kWarning, "accepted and not honoured"};
inline constexpr Rule kHttpAtL4{"WEFT0102", Level::kWarning, "HTTP conditions at a node proxy"};
inline constexpr Rule kDeniedInstead{"WEFT0103", Level::kWarning, "denied, as nobody can be asked"};
inline constexpr Rule kNoSuchPortName{"WEFT0201", Level::kError, "no container names the port"};
inline constexpr Rule kUndeclaredPort{"WEFT0202", Level::kWarning, "no container has the port"};
inline constexpr Rule kOutsideMesh{"WEFT0301", Level::kWarning, "workloads outside the mesh"};
inline constexpr Rule kStaysOutside{"WEFT0302", Level::kWarning, "a pod cannot join the mesh"};
inline constexpr Rule kOtherLabel{"WEFT0303", Level::kInfo, "another label says it better"};
inline constexpr Rule kUnknownMode{"WEFT0304", Level::kWarning, "a label's value means nothing"};
inline constexpr Rule kOfASidecar{"WEFT0305", Level::kInfo, "annotations of a sidecar do nothing"};
inline constexpr Rule kForgetsWaypoint{"WEFT0306", Level::kWarning,
                                       "a policy shuts a waypoint out"};
inline constexpr Rule kNobodyRunsAs{"WEFT0401", Level::kWarning, "no workload has the identity"};
inline constexpr Rule kOnlyOldest{"WEFT0402", Level::kWarning, "only the oldest counts"};
inline constexpr Rule kNoEndpoint{"WEFT0501", Level::kWarning, "a host has no endpoint"};
inline constexpr Rule kHostTwice{"WEFT0502", Level::kWarning, "a host belongs to another object"};

struct Finding {
  Rule rule;
  std::string origin;  // "Kind ns/name", "Kind name", or a file
  std::string message;
};

// {"code":..,"level":..,"origin":..,"message":..}, one line.
std::string to_json_line(const Finding& finding);
// "Warning [IST0127] (Service shop/web) selects no pod: app=web", one line.
std::string to_text_line(const Finding& finding);

std::string origin_of(const objects::Key& key);

// What the checks have found so far. An object's annotation galley.istio.io/analyze-suppress (codes
// separated by commas, or "*") silences them for it, as with istioctl.
class Findings {
 public:
  explicit Findings(const std::vector<std::shared_ptr<const objects::Object>>& objects);
  void add(const Rule& rule, const objects::Key& about, std::string message);
  void add_for_origin(const Rule& rule, std::string origin, std::string message);
  // The worst first, then by origin; each once.
  std::vector<Finding> take();

 private:
  std::map<objects::Key, std::string> suppressed_;
  std::vector<Finding> findings_;
};

}  // namespace weft::analyze
