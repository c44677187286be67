#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::sandbox {

// Named network namespaces, as `ip netns` keeps them: a bind mount below /run/netns.
Result<void> add_netns(const std::string& name);
Result<Fd> open_netns(const std::string& name);
// A namespace that is not there is no error. Its links vanish with it once no process is in it.
Result<void> delete_netns(const std::string& name);
std::vector<std::string> list_netns(std::string_view prefix);

// This thread is in another network namespace for as long as the value lives. Nothing may be
// awaited meanwhile.
class NetnsBracket {
 public:
  static Result<NetnsBracket> enter(int netns_fd);
  NetnsBracket(NetnsBracket&& other) noexcept : own_(std::move(other.own_)) {}
  NetnsBracket& operator=(NetnsBracket&&) = delete;
  ~NetnsBracket();  // a way back that fails ends the process: it would act in the wrong place

 private:
  explicit NetnsBracket(Fd own) : own_(std::move(own)) {}
  Fd own_;
};

// Sets net.* sysctls ("ipv4/ip_forward", "1") of a namespace.
using Sysctls = std::vector<std::pair<std::string, std::string>>;
Result<void> set_sysctls(int netns_fd, const Sysctls& values);

}  // namespace weft::sandbox
