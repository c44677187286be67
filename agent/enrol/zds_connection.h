#pragma once

#include "agent/enrol/zds_packet.h"
#include "agent/enrol/zds_server.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace weft::enrol {

// One ztunnel's connection, from its hello to its end. Two tasks: one reads acknowledgements and
// parked descriptors, the other tells the peer what it does not know yet.
class ZdsConnection {
 public:
  ZdsConnection(ZdsServer& server, Fd socket);
  ~ZdsConnection();

  runtime::Task<void> run();
  void stop();  // makes run() end soon
  void wake();  // what is announced has changed

  bool has_acked(const std::string& uid) const;
  bool serves(const std::string& uid) const { return hello_.wants_listeners && has_acked(uid); }
  bool knows(const std::string& uid) const { return told_.contains(uid); }
  bool has_arrived() const { return arrived_; }  // said a hello that was accepted
  ZtunnelStatus status() const;

 private:
  using Request = istio::workload::zds::WorkloadRequest;
  struct Told {
    std::shared_ptr<const AnnouncedPod> pod;
    bool acked = false;
    std::chrono::steady_clock::time_point retry_at;  // of a refused one
  };
  struct Step {
    enum class Kind { kAdd, kDelete, kSnapshotSent } kind;
    std::string uid;
  };

  runtime::Task<Result<Hello>> read_hello();
  runtime::Task<void> read_responses();
  Result<void> take_response(Packet packet);
  runtime::Task<Result<Packet>> next_packet();
  runtime::Task<Result<void>> tell();
  std::optional<Step> next_step() const;
  runtime::Task<Result<void>> take(Step step);
  runtime::Task<Result<void>> send(Request request, std::vector<int> descriptors);
  runtime::Task<Result<std::string>> ask(Request request, std::vector<int> descriptors);
  runtime::Task<Result<void>> send_parked();
  Request add_request(const AnnouncedPod& pod, std::vector<int>& descriptors) const;
  void refused(const std::string& uid, const std::string& reason);

  ZdsServer& server_;
  runtime::Loop& loop_;
  Fd socket_;
  pid_t pid_ = 0;
  Hello hello_;
  bool arrived_ = false;
  bool closed_ = false;
  bool snapshot_sent_ = false;
  bool awaiting_ack_ = false;
  std::optional<std::string> ack_;  // the error text of the acknowledgement that came
  std::string last_refusal_;
  std::map<std::string, Told> told_;
  runtime::TimerId retry_ = 0;
  runtime::Event woken_;
};

}  // namespace weft::enrol
