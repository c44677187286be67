#pragma once

#include "agent/enrol/pod_sandbox.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/runtime/sync.h"

#include <memory>
#include <set>
#include <string>

namespace weft::enrol {

// Answers weft-cni, one question a connection. Belongs to one loop.
class CniServer {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    // Whether the pod is captured (true) or not to be (false), as soon as that is so; bounded by
    // the handler. An error keeps the pod from starting.
    virtual runtime::Task<Result<bool>> sandbox_made(PodSandbox sandbox) = 0;
    virtual Result<bool> is_captured(const PodSandbox& sandbox) const = 0;
    virtual void sandbox_gone(PodSandbox sandbox) = 0;
  };

  CniServer(runtime::Loop& loop, std::string path, Handler& handler)
      : loop_(loop), path_(std::move(path)), handler_(handler) {}

  // Makes the socket, mode 0600. Whoever calls is sure that no other agent serves it.
  Result<void> listen();
  runtime::Task<void> run();  // until stop(), and until every question has its answer
  void stop();

 private:
  runtime::Task<void> serve(Fd connection);
  runtime::Task<Result<bool>> answer(PodSandbox sandbox);
  runtime::Task<Result<PodSandbox>> read_question(int connection);

  runtime::Loop& loop_;
  std::string path_;
  Handler& handler_;
  Fd listener_;
  std::unique_ptr<runtime::Acceptor> acceptor_;
  size_t open_ = 0;
  std::set<int> reading_;
  bool stopped_ = false;
  runtime::Event closed_;  // the last connection
};

}  // namespace weft::enrol
