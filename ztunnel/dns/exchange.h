#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/ip.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/socket.h"

#include <chrono>
#include <memory>
#include <string>

namespace weft::dns {

// One question to one server, from a socket of its own: a source port that the kernel draws, an id
// from the kernel's randomness, and only an answer from that server, with that id and that
// question, is taken. One call at a time.
class Exchange {
 public:
  // `netns_fd`: the network namespace it is asked from; -1: the process's own. `mark`: SO_MARK.
  Exchange(runtime::Loop& loop, SocketAddress server, int netns_fd, uint32_t mark = 0)
      : loop_(loop), server_(server), netns_fd_(netns_fd), mark_(mark) {}

  // `query` is a whole message of at least kHeaderBytes; its id is replaced on the way, and the
  // answer carries the query's own again. An answer may be truncated (TC). Errors: kTimeout after
  // `limit`, kRefused where the server's host says that nobody listens, what the kernel says
  // otherwise, kInvalid where a server's answer over TCP is not one, kCancelled by abort().
  //
  // Over UDP the query is sent again, unchanged, after kResendAfter, then after twice that and so
  // on: one lost datagram costs no more.
  static constexpr std::chrono::milliseconds kResendAfter{1000};
  runtime::Task<Result<std::string>> over_udp(std::string query, std::chrono::milliseconds limit);
  runtime::Task<Result<std::string>> over_tcp(std::string query, std::chrono::milliseconds limit);
  // Over UDP, and where that answer is truncated, over TCP within what is left of the limit. A
  // truncated answer is better than none: it is returned where TCP fails.
  runtime::Task<Result<std::string>> ask(std::string query, std::chrono::milliseconds limit);

  // A pending call ends with kCancelled, soon; later ones at once.
  void abort();

 private:
  runtime::Task<Result<std::string>> receive_datagram(std::string_view query);
  runtime::Task<Result<std::string>> over_stream(std::string query,
                                                 std::chrono::steady_clock::time_point until);
  Error timed_out() const;

  runtime::Loop& loop_;
  SocketAddress server_;
  int netns_fd_;
  uint32_t mark_;
  Fd socket_;
  runtime::ByteStream* stream_ = nullptr;
  bool aborted_ = false;
};

// The answer to a query over an open connection; whoever calls bounds it. kClosed where the server
// ends the connection instead, kInvalid where it answers something else.
runtime::Task<Result<std::string>> ask_over(runtime::Loop& loop, runtime::ByteStream& stream,
                                            std::string query);

// Whether `answer` is one to `query`: an answer of its id, opcode and question (as far as it
// repeats the question: a server that could not read it does not).
bool answers(std::string_view answer, std::string_view query);

}  // namespace weft::dns
