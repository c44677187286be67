#pragma once

#include "ztunnel/learn/pods.h"
#include "ztunnel/learn/zds_message.h"
#include "ztunnel/runtime/pause.h"
#include "ztunnel/runtime/sync.h"

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace weft::learn {

class ZdsSink {
 public:
  virtual ~ZdsSink() = default;
  // What an earlier ztunnel parked with the agent.
  virtual void unparked(Fd memfd) = 0;
  // The agent takes what we park; told once a connection.
  virtual void parking_offered() = 0;
  virtual void agent_synced() = 0;  // its snapshot of pods is complete
  virtual void agent_lost(const Error& error) = 0;
};

// Keeps a connection to the node agent: hello, then one acknowledgement for each request, with the
// error of a refused one. After a failure it connects again, waiting 15 s at most; pods stay
// meanwhile.
//
// Whether the agent takes parked memory is not negotiated in so many words: an Istio CNI agent
// would take fright at it. An agent that hands over listeners, or something parked, is ours.
class ZdsClient {
 public:
  ZdsClient(runtime::Loop& loop, std::string path, PodTable& pods, ZdsSink& sink,
            runtime::Backoff::Random random);

  runtime::Task<void> run();  // until stop()
  void stop();
  // Replaces what is parked. Dropped where no agent is there that takes it: parking_offered() tells
  // when to do it again.
  void park(Fd memfd);

 private:
  struct Outgoing {
    std::string bytes;
    Fd fd;
  };
  // Acknowledgements are one at a time, because the agent waits for each.
  static constexpr size_t kOutgoingMax = 16;

  runtime::Task<Result<void>> session();
  runtime::Task<Result<void>> listen(SeqpacketSocket& socket);
  runtime::Task<void> send_all(SeqpacketSocket& socket, runtime::Queue<Outgoing>& outgoing);
  Result<void> handle(ZdsMessage message);
  Result<void> take(std::shared_ptr<const Pod> pod);
  void retry_later();
  void offer_parking();

  runtime::Loop& loop_;
  std::string path_;
  PodTable& pods_;
  ZdsSink& sink_;
  runtime::Backoff backoff_;
  runtime::Pause pause_;
  bool stopped_ = false;
  std::map<std::string, std::shared_ptr<const Pod>> pending_;  // redirected, not opened yet, by uid
  runtime::TimerId retry_ = 0;
  // Of the present connection.
  SeqpacketSocket* socket_ = nullptr;
  runtime::Queue<Outgoing>* outgoing_ = nullptr;
  bool parking_offered_ = false;
  std::optional<Fd> to_park_;  // did not fit into the queue yet
};

}  // namespace weft::learn
