#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace weft::xds {

// How many calls of one address may wait until it is known who calls. Before that anyone may call,
// with tokens that only an API server can judge: so one pod's flood of them does not take the
// places of every node. Thread-safe.
class PeerLimit {
 public:
  // A ztunnel has one stream and up to eight certificate requests under way; the pods of a node may
  // share its address.
  static constexpr size_t kWaitingMax = 128;

  // False: the address has its share. `peer` is gRPC's: "ipv4:10.0.0.1:1234", "ipv6:%5B::1%5D:1".
  bool enter(std::string_view peer) {
    const std::scoped_lock lock(mutex_);
    size_t& waiting = waiting_[host_of(peer)];
    if (waiting >= kWaitingMax) return false;
    ++waiting;
    return true;
  }
  void leave(std::string_view peer) {
    const std::scoped_lock lock(mutex_);
    const auto found = waiting_.find(host_of(peer));
    if (found != waiting_.end() && --found->second == 0) waiting_.erase(found);
  }

 private:
  static std::string host_of(std::string_view peer) {
    return std::string(peer.substr(0, peer.rfind(':')));
  }

  std::mutex mutex_;
  std::unordered_map<std::string, size_t> waiting_;  // never 0
};

}  // namespace weft::xds
