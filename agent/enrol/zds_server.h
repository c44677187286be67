#pragma once

#include "agent/enrol/listeners.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <sys/types.h>

#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::enrol {

class ZdsConnection;

// A captured pod, as every ztunnel of the node is told of it. Immutable: a pod whose descriptors
// change is announced as another object.
struct AnnouncedPod {
  std::string uid;
  std::string name;
  std::string ns;
  std::string service_account;
  Fd netns;
  Listeners listeners;
  bool answers_dns = false;  // also over TCP; as it was wanted when the pod was captured
};

// What a connection is doing, for the status.
struct ZtunnelStatus {
  pid_t pid = 0;
  bool listeners = false;  // asked for them: a Weft ztunnel
  bool snapshot_sent = false;
  size_t pods_acked = 0;
  std::string last_refusal;  // the latest reason that it gave for refusing a pod
};

// Bounds of a conversation; tests have shorter ones.
struct ZdsTiming {
  std::chrono::milliseconds hello{5'000};
  // A ztunnel acknowledges after it has opened what it needs in the pod's netns: milliseconds.
  std::chrono::milliseconds acknowledgement{10'000};
  // When a refused pod is offered again; Istio's ztunnel too retries what it could not start so.
  std::chrono::milliseconds refused_retry{5'000};
};

// Serves ZDS to the node's ztunnels. Several may be connected: during an upgrade the old one drains
// while the new one takes over, and each is told everything.
//
// Level-triggered: a connection compares what it has told its peer with what is announced, and
// sends one message at a time, each acknowledged before the next; nothing queues up. Belongs to one
// loop.
class ZdsServer {
 public:
  // Told on the loop, never from within a call into the server.
  class Observer {
   public:
    virtual ~Observer() = default;
    // A ztunnel said hello; it is told of no pod unless this succeeds.
    virtual Result<void> ztunnel_arrived(pid_t pid) = 0;
    virtual void ztunnel_left(pid_t pid) = 0;
    // is_acked(uid) or is_known(uid) may answer otherwise now.
    virtual void pod_told(const std::string& uid) = 0;
  };

  ZdsServer(runtime::Loop& loop, std::string path, Observer& observer, ZdsTiming timing = {});
  ~ZdsServer();  // run() must have ended

  // Makes the socket (mode 0600) and a lock beside it: kRefused where another agent serves it.
  Result<void> listen();
  runtime::Task<void> run();  // until stop()
  void stop();

  void announce(std::shared_ptr<const AnnouncedPod> pod);
  void retire(const std::string& uid);
  // Everything that is captured has been announced once: from now on connections are told that
  // their snapshot is complete. Earlier, a ztunnel would drop the pods that were not named yet.
  void set_complete();
  // Whether some ztunnel has accepted the pod as it is announced now.
  bool is_acked(const std::string& uid) const;
  // The same, of one that took the pod's listeners, and so serves its DNS sockets.
  bool is_served(const std::string& uid) const;
  // Whether some ztunnel has been told of the pod and not yet confirmed that it let go of it.
  bool is_known(const std::string& uid) const;

  std::vector<ZtunnelStatus> ztunnels() const;

 private:
  friend class ZdsConnection;
  using Pods = std::map<std::string, std::shared_ptr<const AnnouncedPod>>;

  runtime::Task<void> serve(Fd socket);
  void wake_all();

  runtime::Loop& loop_;
  std::string path_;
  Observer& observer_;
  ZdsTiming timing_;
  Fd lock_;
  Fd listener_;
  Fd parked_;  // the latest that a ztunnel gave; handed to the next one
  bool stopped_ = false;
  bool complete_ = false;
  runtime::TimerId wake_ = 0;
  Pods pods_;
  std::list<ZdsConnection*> connections_;  // owned by their serve() tasks
  runtime::TaskScope tasks_;
};

}  // namespace weft::enrol
