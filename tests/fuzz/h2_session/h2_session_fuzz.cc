// An HTTP/2 peer that says anything. The first byte chooses who we are (bit 0: client), whether the
// preface and settings are said for it (bit 1), the size of the pieces and how we behave. Whatever
// comes, events must be in order, what they hold within the bounds, and what we send be frames.
#include "ztunnel/base/check.h"
#include "ztunnel/http/h2_session.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace {

using namespace weft::http;
using weft::runtime::Buffer;
using weft::runtime::BufferPool;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::string_view kSettings{"\0\0\0\4\0\0\0\0\0", 9};
constexpr size_t kHeaderListBytesMax = 8192;
constexpr size_t kWindowBytes = 65536;
constexpr uint32_t kStreamsMax = 20;

struct Stream {
  bool headers = false;
  bool ended = false;
  size_t unread = 0;
  size_t to_send = 0;
  bool we_ended = false;
};

class Peer final : public H2Observer {
 public:
  Peer(uint8_t manner, BufferPool& pool) : manner_(manner), pool_(pool) {}

  void on_settings() override {}
  void on_headers(int32_t stream, std::vector<Header> headers) override {
    size_t bytes = 0;
    for (const Header& header : headers) bytes += header.name.size() + header.value.size() + 32;
    CHECK(bytes <= kHeaderListBytesMax && headers.size() <= H2Session::kHeadersMax);
    Stream& one = is_client() ? streams.at(stream) : streams[stream];
    CHECK(!one.ended && streams.size() <= kStreamsMax);
    const bool first = !std::exchange(one.headers, true);
    if (first && !is_client()) fresh.push_back(stream);
  }
  void on_data(int32_t stream, const Buffer& source, size_t offset, size_t size) override {
    CHECK(offset <= source.size() && size <= source.size() - offset);
    Stream& one = streams.at(stream);
    CHECK(one.headers && !one.ended);
    one.unread += size;
    // A piece of a frame may pass before its overrun is seen.
    CHECK(one.unread <= kWindowBytes + BufferPool::kBufferBytes);
    one.to_send += (manner_ & 4U) != 0 ? size : 0;
    unread += size;
  }
  void on_end(int32_t stream) override {
    Stream& one = streams.at(stream);
    CHECK(!std::exchange(one.ended, true));
    one.we_ended = true;
  }
  void on_end_sent(int32_t stream) override { CHECK(streams.contains(stream)); }
  void on_closed(int32_t stream, uint32_t) override { streams.erase(stream); }
  void on_goaway() override {}
  void on_ping_answered(Ping) override {}
  Outgoing outgoing_ready(int32_t stream, size_t size) override {
    const Stream& one = streams.at(stream);
    const size_t bytes = std::min(size, one.to_send);
    return {bytes, one.we_ended && bytes == one.to_send};
  }
  void take_outgoing(int32_t stream, size_t size, PieceList& into) override {
    Stream& one = streams.at(stream);
    CHECK(size <= one.to_send);
    into.add(pool_.copy_of(std::string(size, 'x')));
    one.to_send -= size;
  }

  bool is_client() const { return (manner_ & 1U) != 0; }

  std::map<int32_t, Stream> streams;
  std::vector<int32_t> fresh;  // to be answered
  size_t unread = 0;           // of the connection's window

 private:
  uint8_t manner_;
  BufferPool& pool_;
};

// What a reader and a handler would do.
void act(H2Session& session, Peer& peer, uint8_t manner) {
  for (const int32_t stream : peer.fresh) {
    if (!peer.streams.contains(stream)) continue;
    switch (manner >> 6U) {
      case 0:
        session.reset(stream, 7);
        break;
      case 1:
        static_cast<void>(session.submit_response(stream, {{":status", "400"}}, true));
        break;
      default:
        static_cast<void>(session.submit_response(stream, {{":status", "200"}}, false));
    }
  }
  peer.fresh.clear();
  session.consume_connection(std::exchange(peer.unread, 0));
  for (auto& [id, stream] : peer.streams) {
    if ((manner & 8U) != 0) session.consume_stream(id, std::exchange(stream.unread, 0));
    if (stream.to_send > 0 || stream.we_ended) session.resume(id);
  }
}

// Whole frames, each within what the peer takes at least.
void check_frames(std::string_view bytes) {
  while (!bytes.empty()) {
    CHECK(bytes.size() >= 9);
    const size_t size = static_cast<uint8_t>(bytes[0]) << 16U |
                        static_cast<uint8_t>(bytes[1]) << 8U | static_cast<uint8_t>(bytes[2]);
    CHECK(size <= 16384 && bytes.size() >= 9 + size);
    bytes.remove_prefix(9 + size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint8_t manner = data[0];
  const size_t step = (manner & 16U) != 0 ? 7 : 4096;
  std::string input(reinterpret_cast<const char*>(data + 1), size - 1);
  BufferPool pool;
  Peer peer(manner, pool);
  if ((manner & 2U) != 0) {
    input.insert(0, std::string(peer.is_client() ? "" : kPreface) + std::string(kSettings));
  }
  const H2Limits limits{.stream_window_bytes = kWindowBytes,
                        .streams_max = peer.is_client() ? 0 : kStreamsMax,
                        .header_list_bytes_max = kHeaderListBytesMax};
  {
    H2Session session(peer.is_client() ? H2Role::kClient : H2Role::kServer, limits, peer);
    for (int i = 0; i < 2 && peer.is_client(); ++i) {
      const auto stream =
          session.submit_request({{":method", "CONNECT"}, {":authority", "a:1"}}, false);
      peer.streams[*stream].to_send = 100;
    }
    std::string sent;
    std::string_view left = input;
    bool fed = true;
    while (fed && !left.empty()) {
      const Buffer piece = pool.copy_of(left.substr(0, step));
      left.remove_prefix(piece.size());
      fed = session.feed(piece).has_value();
      CHECK(fed || session.is_finished());
      act(session, peer, manner);
      if ((manner & 32U) != 0 && left.size() > step) continue;  // a peer that reads late
      while (true) {
        PieceList out(pool);
        if (!session.produce(out) || out.empty()) break;
        for (const Buffer& made : out.pieces()) sent += made.text();
      }
    }
    if (peer.is_client() && sent.starts_with(kPreface)) sent.erase(0, kPreface.size());
    check_frames(sent);
  }
  CHECK(pool.in_use() == 0);
  return 0;
}
