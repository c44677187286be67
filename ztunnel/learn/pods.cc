#include "ztunnel/learn/pods.h"

#include "ztunnel/base/log.h"
#include "ztunnel/learn/redirected.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <tuple>
#include <vector>

namespace weft::learn {
namespace {

// Two descriptors of one socket or one namespace have one inode.
bool is_same_file(const Fd& one, const Fd& other) {
  struct stat a{};
  struct stat b{};
  return fstat(one.get(), &a) == 0 && fstat(other.get(), &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino;
}

bool is_same_pod(const Pod& one, const Pod& other) {
  return std::tie(one.name, one.ns, one.service_account) ==
             std::tie(other.name, other.ns, other.service_account) &&
         is_same_file(one.netns, other.netns);
}

// A redirected pod's are our own, and stay as they are while the pod does.
bool has_same_listeners(const Pod& one, const Pod& other) {
  if (one.redirected && other.redirected) return true;
  return one.answers_dns == other.answers_dns && one.peer_port_by_mark == other.peer_port_by_mark &&
         std::ranges::equal(one.listeners, other.listeners, [](const Fd& a, const Fd& b) {
           return a && b ? is_same_file(a, b) : !a && !b;
         });
}

// The same pod with our own sockets in it.
Result<std::shared_ptr<const Pod>> opened(const Pod& pod) {
  auto with_sockets = std::make_shared<Pod>();
  with_sockets->uid = pod.uid;
  with_sockets->name = pod.name;
  with_sockets->ns = pod.ns;
  with_sockets->service_account = pod.service_account;
  with_sockets->answers_dns = pod.answers_dns;
  with_sockets->redirected = true;
  with_sockets->netns.reset(fcntl(pod.netns.get(), F_DUPFD_CLOEXEC, 0));
  if (!with_sockets->netns) return fail_errno(errno, "keeping the pod's network namespace");
  TRY(open_redirected(*with_sockets));
  return with_sockets;
}

}  // namespace

Result<void> PodTable::add(std::shared_ptr<const Pod> pod) {
  const std::string uid = pod->uid;
  const auto known = pods_.find(uid);
  if (known == pods_.end() && pods_.size() >= kPodsMax) {
    return fail(Code::kLimit, "more than " + std::to_string(kPodsMax) + " pods on one node");
  }
  mentioned_.insert(uid);
  if (known != pods_.end()) {
    if (is_same_pod(*known->second, *pod)) {
      if (has_same_listeners(*known->second, *pod)) return {};
    } else {
      sink_.pod_removed(std::exchange(known->second, nullptr));
    }
  }
  if (pod->redirected) {
    Result<std::shared_ptr<const Pod>> with_sockets = opened(*pod);
    if (!with_sockets) {
      if (known != pods_.end() && known->second == nullptr) pods_.erase(known);
      return Fail(std::move(with_sockets.error()));
    }
    pod = std::move(*with_sockets);
  }
  log::info("zds")
      .field("pod", pod->ns + "/" + pod->name)
      .field("uid", uid)
      .say(known != pods_.end() && known->second != nullptr ? "pod taken over from a new agent"
                                                            : "pod added");
  pods_[uid] = pod;
  sink_.pod_added(std::move(pod));
  return {};
}

Result<void> PodTable::keep(const std::string& uid) {
  if (!pods_.contains(uid)) return fail(Code::kNotFound, "no pod " + uid + " to keep");
  mentioned_.insert(uid);
  return {};
}

void PodTable::remove(const std::string& uid) {
  mentioned_.erase(uid);
  const auto found = pods_.find(uid);
  if (found == pods_.end()) return;
  const std::shared_ptr<const Pod> pod = std::move(found->second);
  pods_.erase(found);
  log::info("zds").field("pod", pod->ns + "/" + pod->name).field("uid", uid).say("pod removed");
  sink_.pod_removed(pod);
}

void PodTable::end_snapshot() {
  std::vector<std::string> gone;
  for (const auto& [uid, pod] : pods_) {
    if (!mentioned_.contains(uid)) gone.push_back(uid);
  }
  for (const std::string& uid : gone) remove(uid);
}

std::vector<std::shared_ptr<const Pod>> PodTable::all() const {
  std::vector<std::shared_ptr<const Pod>> result;
  for (const auto& [uid, pod] : pods_) result.push_back(pod);
  return result;
}

}  // namespace weft::learn
