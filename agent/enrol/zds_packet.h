#pragma once

#include "proto/zds.pb.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

// ZDS on the wire: one protobuf message a SOCK_SEQPACKET packet, descriptors by SCM_RIGHTS.

namespace weft::enrol {

// Istio's ztunnel reads at most 1024 bytes a packet, so no message that we send may be longer.
constexpr size_t kSentPacketBytesMax = 1024;
// What we read: an acknowledgement with a peer's error text.
constexpr size_t kReadPacketBytesMax = 4096;
// A netns and a socket of each kind one way, one memfd the other.
constexpr size_t kDescriptorsMax = 8;

struct Packet {
  std::string bytes;
  std::vector<Fd> descriptors;
};

// A listening SOCK_SEQPACKET unix socket of mode 0600, in place of what is there: whoever calls is
// sure that nobody else serves it.
Result<Fd> listen_seqpacket(const std::string& path, int backlog);

// From a non-blocking socket. kUnavailable: nothing there yet; kClosed: the peer is gone; kLimit:
// the packet was longer or carried more descriptors than it may.
Result<Packet> receive_packet(int socket, size_t bytes_max = kReadPacketBytesMax);
// kUnavailable: no room now.
Result<void> send_packet(int socket, std::string_view bytes, std::span<const int> descriptors);

// What ztunnel says, read strictly; pure.
struct Hello {
  bool wants_listeners = false;
  bool wants_parking = false;
};
Result<Hello> parse_hello(std::string_view bytes);

struct Response {
  bool park = false;  // else an acknowledgement
  std::string error;  // of an acknowledgement; empty: accepted
};
Result<Response> parse_response(std::string_view bytes);

// A parked memfd must not change any more and be of bounded size; it is never read here.
Result<void> check_parked(int memfd);

}  // namespace weft::enrol
