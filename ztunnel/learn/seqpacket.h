#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"

#include <memory>
#include <string>
#include <vector>

namespace weft::learn {

// One packet of a SOCK_SEQPACKET socket, with the descriptors that came by SCM_RIGHTS.
struct Packet {
  std::string bytes;
  std::vector<Fd> fds;
  bool truncated = false;  // it was longer, or carried more descriptors, than we take
};

// A connected unix SOCK_SEQPACKET socket on a loop. One receiver and one sender at a time.
class SeqpacketSocket {
 public:
  static constexpr size_t kPacketBytesMax = 64 * 1024;  // an AddWorkload has some hundred
  static constexpr size_t kDescriptorsMax = 16;         // a netns and its listeners: seven today

  static Result<std::unique_ptr<SeqpacketSocket>> connect(runtime::Loop& loop,
                                                          const std::string& path);
  SeqpacketSocket(runtime::Loop& loop, Fd socket) : loop_(loop), socket_(std::move(socket)) {}

  // kClosed when the peer has gone.
  runtime::Task<Result<Packet>> receive();
  // `fd` -1: none; otherwise a copy of it travels along.
  runtime::Task<Result<void>> send(std::string bytes, int fd = -1);
  void abort();

 private:
  runtime::Loop& loop_;
  Fd socket_;
  bool aborted_ = false;
};

}  // namespace weft::learn
