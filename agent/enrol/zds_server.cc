#include "agent/enrol/zds_server.h"

#include "agent/enrol/zds_connection.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weft::enrol {
namespace {

constexpr const char* kTarget = "zds";
// The running ztunnel, one that drains, and room for an upgrade that is tried again.
constexpr size_t kConnectionsMax = 8;
constexpr std::chrono::milliseconds kAcceptPause{100};  // where descriptors have run out

}  // namespace

ZdsServer::ZdsServer(runtime::Loop& loop, std::string path, Observer& observer, ZdsTiming timing)
    : loop_(loop), path_(std::move(path)), observer_(observer), timing_(timing) {}

ZdsServer::~ZdsServer() { loop_.unschedule(wake_); }

Result<void> ZdsServer::listen() {
  const std::string lock = path_ + ".lock";
  lock_ = Fd(open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_) return fail_errno(errno, "opening " + lock);
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kRefused, "another agent serves " + path_ + " (it holds " + lock + ")");
  }
  listener_ = TRY(listen_seqpacket(path_, kConnectionsMax));
  return {};
}

runtime::Task<void> ZdsServer::run() {
  while (!stopped_) {
    const int accepted = co_await loop_.accept(listener_.get());
    if (accepted >= 0) {
      tasks_.spawn(serve(Fd(accepted)));
    } else if (!stopped_) {
      log::warn(kTarget).field("error", std::strerror(-accepted)).say("accepting a ztunnel");
      co_await loop_.sleep(kAcceptPause);
    }
  }
  co_await tasks_.join();
}

void ZdsServer::stop() {
  if (stopped_) return;
  stopped_ = true;
  loop_.cancel(listener_.get());
  for (ZdsConnection* connection : std::list(connections_)) connection->stop();
}

runtime::Task<void> ZdsServer::serve(Fd socket) {
  if (connections_.size() >= kConnectionsMax) {
    log::warn(kTarget).say("too many ztunnels are connected; closing the newest");
    co_return;
  }
  ZdsConnection connection(*this, std::move(socket));
  const auto place = connections_.insert(connections_.end(), &connection);
  co_await connection.run();
  connections_.erase(place);
  if (connection.has_arrived()) observer_.ztunnel_left(connection.status().pid);
}

void ZdsServer::announce(std::shared_ptr<const AnnouncedPod> pod) {
  const std::string uid = pod->uid;
  pods_.insert_or_assign(uid, std::move(pod));
  wake_all();
}

void ZdsServer::retire(const std::string& uid) {
  if (pods_.erase(uid) != 0) wake_all();
}

void ZdsServer::set_complete() {
  complete_ = true;
  wake_all();
}

// From a timer, so that no connection goes on, and no observer is told, within the caller's call.
void ZdsServer::wake_all() {
  if (wake_ != 0) return;
  wake_ = loop_.schedule(std::chrono::milliseconds(0), [this] {
    wake_ = 0;
    for (ZdsConnection* connection : std::list(connections_)) connection->wake();
  });
}

bool ZdsServer::is_acked(const std::string& uid) const {
  return std::ranges::any_of(connections_, [&](const auto* one) { return one->has_acked(uid); });
}

bool ZdsServer::is_served(const std::string& uid) const {
  return std::ranges::any_of(connections_, [&](const auto* one) { return one->serves(uid); });
}

bool ZdsServer::is_known(const std::string& uid) const {
  return std::ranges::any_of(connections_, [&](const auto* one) { return one->knows(uid); });
}

std::vector<ZtunnelStatus> ZdsServer::ztunnels() const {
  std::vector<ZtunnelStatus> all;
  for (const ZdsConnection* connection : connections_) all.push_back(connection->status());
  return all;
}

}  // namespace weft::enrol
