#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

namespace weft::enrol {

// A network namespace that somebody lives in, opened. Keeping the descriptor keeps the namespace.
Result<Fd> open_netns_of(pid_t pid);

// The kernel's name for the namespace: never used again before a reboot (Linux 5.14).
Result<uint64_t> netns_cookie(int netns_fd);

// Whether two descriptors are of one namespace.
bool is_same_netns(int one, int other);

namespace detail {
Result<void> run_in_netns(int netns_fd, const std::function<void()>& call);
}

// Runs `call` inside a network namespace and returns what it returned. It runs on a thread of its
// own that ends with the call, so that the namespace never leaks into the calling thread, whatever
// happens; about 50 us. /proc/sys/net is the namespace's too. `call` returns a Result.
template <class Call>
std::invoke_result_t<Call> in_netns(int netns_fd, Call call) {
  std::invoke_result_t<Call> result =
      Fail(Error(Code::kInternal, "the call inside the network namespace did not run"));
  const Result<void> entered = detail::run_in_netns(netns_fd, [&] { result = call(); });
  if (!entered) return Fail(entered.error());
  return result;
}

}  // namespace weft::enrol
