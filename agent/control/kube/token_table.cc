#include "agent/control/kube/token_table.h"

namespace weft::control::kube {

std::optional<TokenTable::Known> TokenTable::find(const std::string& fingerprint, Time now) const {
  const auto found = entries_.find(fingerprint);
  if (found == entries_.end() || found->second.ends <= now) return std::nullopt;
  const Entry& entry = found->second;
  // A clock that was set back makes nothing fresh for longer.
  const bool is_fresh =
      !entry.caller || (now < entry.asked + kFreshFor && now + kFreshFor > entry.asked);
  return Known{entry.caller, is_fresh};
}

void TokenTable::put(const std::string& fingerprint, Result<identity::Caller> caller, Time now) {
  erase(fingerprint);
  const Time ends = caller ? caller->expires : now + kRefusedFor;
  if (ends <= now) return;
  while (!by_end_.empty() && (by_end_.begin()->first <= now || entries_.size() >= kTokensMax)) {
    erase(std::string(by_end_.begin()->second));
  }
  entries_.emplace(fingerprint, Entry{std::move(caller), now, ends});
  by_end_.emplace(ends, fingerprint);
}

void TokenTable::erase(const std::string& fingerprint) {
  const auto found = entries_.find(fingerprint);
  if (found == entries_.end()) return;
  auto [at, end] = by_end_.equal_range(found->second.ends);
  while (at != end && at->second != fingerprint) ++at;
  if (at != end) by_end_.erase(at);
  entries_.erase(found);
}

}  // namespace weft::control::kube
