#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

namespace weft::enrol {

// A network namespace that somebody lives in, opened. Keeping the descriptor keeps the namespace.
Result<Fd> open_netns_of(pid_t pid);

// The kernel's name for the namespace: never used again before a reboot (Linux 5.14).
Result<uint64_t> netns_cookie(int netns_fd);

// Whether two descriptors are of one namespace.
bool is_same_netns(int one, int other);

// This thread, moved into a network namespace until the object goes. Nothing may be awaited
// meanwhile. That the thread can go back is an invariant: going on in a pod's namespace would be
// worse than ending.
class NetnsBracket {
 public:
  static Result<NetnsBracket> enter(int netns_fd);
  NetnsBracket(NetnsBracket&&) = default;
  NetnsBracket& operator=(NetnsBracket&&) = delete;
  ~NetnsBracket();

 private:
  explicit NetnsBracket(Fd own) : own_(std::move(own)) {}
  Fd own_;  // where the thread goes back to
};

// Runs `call`, which returns a Result, inside a network namespace; /proc/sys/net is the namespace's
// too. Some microseconds.
template <class Call>
std::invoke_result_t<Call> in_netns(int netns_fd, Call call) {
  const NetnsBracket bracket = TRY(NetnsBracket::enter(netns_fd));
  return call();
}

}  // namespace weft::enrol
