#include "ztunnel/http/h2_session.h"

#include "ztunnel/base/check.h"
#include "ztunnel/http/h2_options.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace weft::http {
namespace {

constexpr size_t kFrameHeaderBytes = 9;
constexpr size_t kHeadersExpected = 12;
// What RFC 9113, 6.5.2 counts for a field besides its name and value.
constexpr size_t kFieldOverheadBytes = 32;
constexpr size_t kComplaintBytesMax = 256;  // of an untrusted text that goes to a log

Result<std::vector<nghttp2_nv>> to_nvs(const std::vector<Header>& headers) {
  std::vector<nghttp2_nv> nvs;
  nvs.reserve(headers.size());
  for (const Header& header : headers) {
    const auto* name = reinterpret_cast<const uint8_t*>(header.name.data());
    const auto* value = reinterpret_cast<const uint8_t*>(header.value.data());
    if (nghttp2_check_header_name(name, header.name.size()) == 0 ||
        nghttp2_check_header_value(value, header.value.size()) == 0) {
      return fail(Code::kInvalid, "HTTP/2: header \"" + header.name + "\" cannot be sent");
    }
    nghttp2_nv nv{};
    nv.name = const_cast<uint8_t*>(name);
    nv.namelen = header.name.size();
    nv.value = const_cast<uint8_t*>(value);
    nv.valuelen = header.value.size();
    nv.flags = NGHTTP2_NV_FLAG_NONE;
    nvs.push_back(nv);
  }
  return nvs;
}

}  // namespace

struct H2Session::Block {
  int32_t stream = 0;
  size_t bytes = 0;
  std::vector<Header> headers;
};

struct H2Session::Callbacks {
  static H2Session& self(void* user) { return *static_cast<H2Session*>(user); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Block& block = *self(user).block_;
    block.stream = frame->hd.stream_id;
    block.bytes = 0;
    block.headers.clear();
    block.headers.reserve(kHeadersExpected);
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* user) {
    Block& block = *self(user).block_;
    if (block.stream != frame->hd.stream_id) return 0;
    block.bytes += name_size + value_size + kFieldOverheadBytes;
    if (block.headers.size() >= kHeadersMax || block.bytes > self(user).header_list_bytes_max_) {
      self(user).complaint_ = "the header list is too long";
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // resets the stream
    }
    block.headers.push_back({std::string(reinterpret_cast<const char*>(name), name_size),
                             std::string(reinterpret_cast<const char*>(value), value_size)});
    return 0;
  }

  // nghttp2 would leave a malformed field out and go on; we reset the stream.
  static int invalid_header(nghttp2_session*, const nghttp2_frame*, const uint8_t*, size_t,
                            const uint8_t*, size_t, uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& session = self(user);
    const int32_t stream = frame->hd.stream_id;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        session.observer_.on_headers(stream, std::move(session.block_->headers));
        session.block_->headers.clear();
        [[fallthrough]];
      case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) session.observer_.on_end(stream);
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) session.observer_.on_settings();
        break;
      case NGHTTP2_GOAWAY:
        session.observer_.on_goaway();
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
          session.observer_.on_ping_answered(static_cast<Ping>(frame->ping.opaque_data[0]));
        }
        break;
      default:
        break;
    }
    return 0;
  }

  static int data(nghttp2_session*, uint8_t, int32_t stream, const uint8_t* bytes, size_t size,
                  void* user) {
    H2Session& session = self(user);
    const auto offset = static_cast<size_t>(bytes - session.feeding_->data());
    session.observer_.on_data(stream, *session.feeding_, offset, size);
    return 0;
  }

  static int closed(nghttp2_session*, int32_t stream, uint32_t error, void* user) {
    self(user).observer_.on_closed(stream, error);
    return 0;
  }

  static int frame_sent(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& session = self(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
          session.observer_.on_end_sent(frame->hd.stream_id);
        }
        break;
      case NGHTTP2_RST_STREAM:
        session.tell_refused(frame->rst_stream.error_code);
        break;
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code == NGHTTP2_NO_ERROR || session.failure_) break;
        session.failure_ = session.broken(nghttp2_http2_strerror(frame->goaway.error_code));
        break;
      default:
        break;
    }
    return 0;
  }

  static int complain(nghttp2_session*, int, const char* text, size_t size, void* user) {
    self(user).complaint_.assign(text, std::min(size, kComplaintBytesMax));
    return 0;
  }

  static ssize_t read_length(nghttp2_session*, uint8_t, int32_t, int32_t connection_window,
                             int32_t stream_window, uint32_t frame_max, void*) {
    return std::min<ssize_t>({connection_window, stream_window, static_cast<ssize_t>(frame_max),
                              static_cast<ssize_t>(kDataBytesMax)});
  }

  static ssize_t outgoing(nghttp2_session*, int32_t stream, uint8_t*, size_t size, uint32_t* flags,
                          nghttp2_data_source*, void* user) {
    const H2Observer::Outgoing ready = self(user).observer_.outgoing_ready(stream, size);
    if (ready.bytes == 0 && !ready.end) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (ready.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (ready.end && ready.trailers != nullptr) {
      const Result<std::vector<nghttp2_nv>> nvs = to_nvs(*ready.trailers);
      const bool sent =
          nvs && nghttp2_submit_trailer(self(user).session_, stream, nvs->data(), nvs->size()) == 0;
      if (!sent) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // resets the stream
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return static_cast<ssize_t>(ready.bytes);
  }

  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* frame_header,
                       size_t size, nghttp2_data_source*, void* user) {
    H2Session& session = self(user);
    // nghttp2 goes on by itself while it has DATA.
    if (session.out_->size() >= kProduceBytes) return NGHTTP2_ERR_WOULDBLOCK;
    session.out_->copy({frame_header, kFrameHeaderBytes});
    if (size > 0) session.observer_.take_outgoing(frame->hd.stream_id, size, *session.out_);
    return 0;
  }

  static H2CallbacksPtr make() {
    H2CallbacksPtr all = make_h2_callbacks();
    nghttp2_session_callbacks* raw = all.get();
    nghttp2_session_callbacks_set_on_begin_headers_callback(raw, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(raw, header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(raw, invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(raw, frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, data);
    nghttp2_session_callbacks_set_on_stream_close_callback(raw, closed);
    nghttp2_session_callbacks_set_on_frame_send_callback(raw, frame_sent);
    nghttp2_session_callbacks_set_error_callback2(raw, complain);
    nghttp2_session_callbacks_set_data_source_read_length_callback(raw, read_length);
    nghttp2_session_callbacks_set_send_data_callback(raw, send_data);
    return all;
  }
};

H2Session::H2Session(H2Role role, const H2Limits& limits, H2Observer& observer)
    : role_(role),
      header_list_bytes_max_(limits.header_list_bytes_max),
      observer_(observer),
      block_(std::make_unique<Block>()) {
  const H2CallbacksPtr callbacks = Callbacks::make();
  const H2OptionPtr option = make_h2_option(kOutboundAcksMax, kResetsBurst, kResetsPerSecond);
  const bool server = role == H2Role::kServer;
  CHECK((server
             ? nghttp2_session_server_new2(&session_, callbacks.get(), this, option.get())
             : nghttp2_session_client_new2(&session_, callbacks.get(), this, option.get())) == 0);

  std::vector<nghttp2_settings_entry> settings{
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits.frame_bytes_max},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_list_bytes_max},
  };
  if (server) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams_max});
    if (limits.connect_protocol) settings.push_back({NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1});
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  CHECK(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) ==
        0);
  CHECK(nghttp2_session_set_local_window_size(
            session_, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(limits.connection_window_bytes)) ==
        0);
}

H2Session::~H2Session() { nghttp2_session_del(session_); }

Error H2Session::broken(std::string_view what) const {
  std::string message = "HTTP/2: the peer broke the protocol: " + std::string(what);
  if (!complaint_.empty()) message += " (" + complaint_ + ")";
  return {Code::kInvalid, std::move(message)};
}

// Resets that we ask for have one of the three codes that blame nobody.
void H2Session::tell_refused(uint32_t error) {
  if (error == NGHTTP2_NO_ERROR || error == NGHTTP2_CANCEL || error == NGHTTP2_REFUSED_STREAM) {
    return;
  }
  observer_.on_refused(broken(nghttp2_http2_strerror(error)));
  complaint_.clear();
}

Result<void> H2Session::feed(const runtime::Buffer& bytes) {
  if (dead_ || bytes.empty()) return {};
  feeding_ = &bytes;
  const ssize_t taken = nghttp2_session_mem_recv(session_, bytes.data(), bytes.size());
  feeding_ = nullptr;
  if (taken < 0) {
    dead_ = true;
    failure_ = broken(nghttp2_strerror(static_cast<int>(taken)));
  } else if (nghttp2_session_get_outbound_queue_size(session_) > kOutboundFramesMax) {
    dead_ = true;
    failure_ = Error(Code::kLimit, "HTTP/2: the peer asks for answers and does not read them");
  }
  if (dead_) return Fail(*failure_);
  return {};
}

Result<void> H2Session::produce(PieceList& out) {
  if (!wants_write()) return {};
  out_ = &out;
  while (out.size() < kProduceBytes) {
    const uint8_t* frame = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &frame);
    if (size < 0) {
      dead_ = true;
      failure_ = Error(Code::kInternal,
                       std::string("HTTP/2: ") + nghttp2_strerror(static_cast<int>(size)));
      return Fail(*failure_);
    }
    if (size == 0) break;
    out.copy({frame, static_cast<size_t>(size)});
  }
  return {};
}

bool H2Session::wants_write() const { return !dead_ && nghttp2_session_want_write(session_) != 0; }

bool H2Session::is_finished() const {
  return dead_ || (!wants_write() && nghttp2_session_want_read(session_) == 0);
}

Result<int32_t> H2Session::submit_request(const std::vector<Header>& headers, bool end) {
  const std::vector<nghttp2_nv> nvs = TRY(to_nvs(headers));
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::outgoing;
  if (dead_) return fail(Code::kUnavailable, "HTTP/2: the session is over");
  const int32_t stream = nghttp2_submit_request(session_, nullptr, nvs.data(), nvs.size(),
                                                end ? nullptr : &provider, nullptr);
  if (stream < 0) {
    return fail(Code::kUnavailable, std::string("HTTP/2 request: ") + nghttp2_strerror(stream));
  }
  return stream;
}

Result<void> H2Session::submit_response(int32_t stream, const std::vector<Header>& headers,
                                        bool end) {
  const std::vector<nghttp2_nv> nvs = TRY(to_nvs(headers));
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::outgoing;
  if (dead_) return fail(Code::kUnavailable, "HTTP/2: the session is over");
  const int done =
      nghttp2_submit_response(session_, stream, nvs.data(), nvs.size(), end ? nullptr : &provider);
  if (done == 0) return {};
  return fail(Code::kUnavailable, std::string("HTTP/2 response: ") + nghttp2_strerror(done));
}

Result<void> H2Session::submit_interim(int32_t stream, const std::vector<Header>& headers) {
  const std::vector<nghttp2_nv> nvs = TRY(to_nvs(headers));
  if (dead_) return fail(Code::kUnavailable, "HTTP/2: the session is over");
  const int done = nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream, nullptr, nvs.data(),
                                          nvs.size(), nullptr);
  if (done == 0) return {};
  return fail(Code::kUnavailable, std::string("HTTP/2 response: ") + nghttp2_strerror(done));
}

// What fails below fails because the stream or the session is gone, which its owner learns by
// on_closed() or is_finished(), or for want of memory.

void H2Session::resume(int32_t stream) {
  if (!dead_) nghttp2_session_resume_data(session_, stream);
}

void H2Session::reset(int32_t stream, uint32_t error) {
  if (!dead_) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, error);
}

void H2Session::consume_stream(int32_t stream, size_t bytes) {
  if (!dead_) nghttp2_session_consume_stream(session_, stream, bytes);
}

void H2Session::set_stream_window(int32_t stream, uint32_t bytes) {
  if (dead_) return;
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, stream,
                                        static_cast<int32_t>(bytes));
}

void H2Session::consume_connection(size_t bytes) {
  if (!dead_) nghttp2_session_consume_connection(session_, bytes);
}

void H2Session::ping(Ping ping) {
  const std::array<uint8_t, 8> opaque{static_cast<uint8_t>(ping)};
  if (!dead_) nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, opaque.data());
}

void H2Session::announce_goaway() {
  if (!dead_) nghttp2_submit_shutdown_notice(session_);
}

void H2Session::goaway() {
  if (dead_) return;
  const int32_t last =
      role_ == H2Role::kServer ? nghttp2_session_get_last_proc_stream_id(session_) : 0;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, nullptr, 0);
}

void H2Session::terminate(uint32_t error) {
  if (!dead_) nghttp2_session_terminate_session(session_, error);
}

bool H2Session::peer_takes_connect_protocol() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) ==
         1;
}

uint32_t H2Session::peer_streams_max() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

}  // namespace weft::http
