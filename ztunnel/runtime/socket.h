#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/stream.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace weft::runtime {

// A connected TCP (or unix stream) socket on a loop.
class SocketStream final : public ByteStream {
 public:
  SocketStream(Loop& loop, Fd socket);
  ~SocketStream() override;  // no operation may be pending

  Task<Result<Buffer>> read() override;
  Task<Result<void>> write(Buffer bytes) override;
  Task<Result<void>> write_pieces(std::span<Buffer> pieces) override;
  Task<Result<void>> shutdown_write() override;
  void abort() override;  // SO_LINGER 0: the peer sees RST

  SocketStream* socket() override { return this; }

  Loop& loop() const { return loop_; }
  int fd() const { return socket_.get(); }
  bool is_aborted() const { return aborted_; }
  // Whether the kernel holds little that it has not sent yet, as at first: for delay. Without, it
  // holds what its buffer takes: for bulk.
  void bound_unsent(bool bounded);

 private:
  Loop& loop_;
  Fd socket_;
  bool aborted_ = false;
  bool ended_ = false;
  bool busy_ = false;  // the last read filled its buffer
};

// How a socket to be connected is made; what is set before connect(2).
struct DialOptions {
  int netns_fd = -1;  // the network namespace it is made in; -1: the process's own
  std::optional<SocketAddress> source;  // bind here first; port 0: any
  bool transparent = false;             // IP_TRANSPARENT, for a source that is not ours
  uint32_t mark = 0;                    // SO_MARK
  std::string bind_to_device;           // SO_BINDTODEVICE
  bool over_loopback = false;           // see send_over_loopback()
  std::chrono::milliseconds timeout{10'000};
};

// Connects; kTimeout when it took too long, kRefused, kUnavailable as the kernel says.
Task<Result<std::unique_ptr<SocketStream>>> dial(Loop& loop, SocketAddress to, DialOptions options);
Task<Result<std::unique_ptr<SocketStream>>> dial_unix(Loop& loop, std::string path);

// Makes a non-blocking, close-on-exec socket inside a network namespace: socket(2) between two
// setns(2) on this thread, with nothing awaited between. netns_fd -1: the process's own.
Result<Fd> socket_in(int netns_fd, int family, int type, int protocol);
Result<Fd> tcp_socket_in(int netns_fd, const IpAddress& family_of);
Result<Fd> listen_in(int netns_fd, const SocketAddress& address, int backlog);
Result<Fd> listen_unix(const std::string& path, mode_t mode);

// Says of a socket that is not connected yet, or of those that a listener will accept, that what
// they send never leaves the machine: congestion control then only costs. BBR, which many systems
// have by default, sets a timer for every burst (measured: 40 % of the CPU of a splice between two
// pods). Reno sets none, and every kernel has it.
void send_over_loopback(int fd);

Result<SocketAddress> local_address(int fd);
Result<SocketAddress> peer_address(int fd);

// Accepts on a descriptor that it does not own, one connection at a time, and hands each to
// `handle` as a task of its own; re-arms only after that (a multishot accept would give one worker
// everything).
class Acceptor {
 public:
  using Handler = std::function<Task<void>(Fd connection)>;
  Acceptor(Loop& loop, int listener, Handler handle);
  ~Acceptor();       // stop() must have completed
  Task<void> run();  // until stop(); errors such as EMFILE are logged and waited out
  void stop();

 private:
  Task<void> pause();

  Loop& loop_;
  int listener_;
  Handler handle_;
  bool stopped_ = false;
  bool running_ = false;
  Event resume_;  // ends a pause
};

}  // namespace weft::runtime
