#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"
#include "ztunnel/runtime/socket.h"

#include <cerrno>
#include <cstring>

namespace weft::runtime {
namespace {

// Long enough that a loop without descriptors does not spin, short enough that a client hardly
// notices once some are free again.
constexpr std::chrono::milliseconds kPause{100};

enum class AcceptError { kOfOneConnection, kOutOfResources, kOfListener };

AcceptError classify(int error_number) {
  switch (error_number) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
      return AcceptError::kOutOfResources;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
    case ECANCELED:
      return AcceptError::kOfListener;
    default:
      // accept(2) hands over errors that are pending on the new connection: ECONNABORTED,
      // ENETDOWN, EPERM and others. The next connection may be well.
      return AcceptError::kOfOneConnection;
  }
}

}  // namespace

Acceptor::Acceptor(Loop& loop, int listener, Handler handle)
    : loop_(loop), listener_(listener), handle_(std::move(handle)) {}

Acceptor::~Acceptor() { CHECK(!running_); }

Task<void> Acceptor::run() {
  CHECK(!running_);
  running_ = true;
  bool paused = false;  // so that a lasting lack is logged once
  while (!stopped_) {
    const int result = co_await loop_.accept(listener_);
    if (result >= 0) {
      // One that was accepted as stop() came is served too: its client sees no failure.
      Fd connection(result);
      paused = false;
      loop_.spawn(handle_(std::move(connection)));
      continue;
    }
    if (stopped_) break;
    const AcceptError kind = classify(-result);
    if (kind == AcceptError::kOfListener) {
      log::error("runtime")
          .field("error", std::strerror(-result))
          .say("accepting has ended: the listener is broken");
      break;
    }
    if (kind == AcceptError::kOfOneConnection) continue;
    if (!std::exchange(paused, true)) {
      log::warn("runtime")
          .field("error", std::strerror(-result))
          .say("cannot accept connections; they wait in the listener's backlog");
    }
    co_await pause();
  }
  running_ = false;
}

Task<void> Acceptor::pause() {
  resume_.reset();
  const TimerId timer = loop_.schedule(kPause, [this] { resume_.set(); });
  co_await resume_.wait();
  loop_.unschedule(timer);
}

void Acceptor::stop() {
  stopped_ = true;
  resume_.set();
  if (running_) loop_.cancel(listener_);
}

}  // namespace weft::runtime
