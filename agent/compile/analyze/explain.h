#pragma once

#include "agent/compile/analyze/cluster.h"
#include "agent/compile/analyze/judge.h"
#include "ztunnel/base/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft::analyze {

// "[namespace/]name": a pod or what makes pods (its own name is enough), or a Service.
struct Place {
  std::string ns;  // empty: none was given
  std::string name;
};
struct Question {
  Place from;
  Place to;
  std::string host;                  // as it was typed, where it may be a ServiceEntry's
  std::optional<IpAddress> address;  // instead
  uint16_t port = 0;
};
// FROM and TO:PORT as they were typed; TO may also be "name.namespace[.svc[.cluster domain]]", the
// host of a ServiceEntry, or an IP address.
// kInvalid says what was expected.
Result<Question> parse_question(const std::string& from, const std::string& to);

// Which route a connection takes and which policies decide over it, in order.
struct Explanation {
  std::vector<std::string> lines;  // for people
  Answer allowed = Answer::kYes;   // the last line says it in words
};
// kNotFound where there is no such pod or Service. `from` may have no namespace ("default"); a `to`
// without one is looked for in the source's.
Result<Explanation> explain(const Cluster& cluster, const Question& question);

}  // namespace weft::analyze
