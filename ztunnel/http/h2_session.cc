#include "ztunnel/http/h2_session.h"

#include "ztunnel/base/check.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstring>

namespace weft::http {
namespace {

constexpr size_t kFrameHeaderBytes = 9;
constexpr uint32_t kHeadersMax = 100;  // of one block

std::string describe(int error) { return nghttp2_strerror(error); }

nghttp2_nv to_nv(const Header& header) {
  nghttp2_nv nv{};
  nv.name = reinterpret_cast<uint8_t*>(const_cast<char*>(header.name.data()));
  nv.namelen = header.name.size();
  nv.value = reinterpret_cast<uint8_t*>(const_cast<char*>(header.value.data()));
  nv.valuelen = header.value.size();
  nv.flags = NGHTTP2_NV_FLAG_NONE;
  return nv;
}

std::vector<nghttp2_nv> to_nvs(const std::vector<Header>& headers) {
  std::vector<nghttp2_nv> nvs;
  nvs.reserve(headers.size());
  for (const Header& header : headers) nvs.push_back(to_nv(header));
  return nvs;
}

}  // namespace

struct H2Session::Block {
  int32_t stream = 0;
  std::vector<Header> headers;
};

struct H2Session::Callbacks {
  static H2Session& self(void* user) { return *static_cast<H2Session*>(user); }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    self(user).block_->stream = frame->hd.stream_id;
    self(user).block_->headers.clear();
    return 0;
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                    void* user) {
    Block& block = *self(user).block_;
    if (block.stream != frame->hd.stream_id) return 0;
    if (block.headers.size() >= kHeadersMax) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    block.headers.push_back({std::string(reinterpret_cast<const char*>(name), name_size),
                             std::string(reinterpret_cast<const char*>(value), value_size)});
    return 0;
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    H2Session& session = self(user);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        session.observer_.on_headers(frame->hd.stream_id, std::move(session.block_->headers), end);
        session.block_->headers.clear();
        if (end) session.observer_.on_end(frame->hd.stream_id);
        break;
      case NGHTTP2_DATA:
        if (end) session.observer_.on_end(frame->hd.stream_id);
        break;
      case NGHTTP2_GOAWAY:
        session.observer_.on_goaway(frame->goaway.last_stream_id, frame->goaway.error_code);
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) session.observer_.on_ping_answered();
        break;
      default:
        break;
    }
    return 0;
  }

  static int data(nghttp2_session* raw, uint8_t, int32_t stream, const uint8_t* bytes, size_t size,
                  void* user) {
    H2Session& session = self(user);
    // The connection's window is given back at once; the stream's when its reader takes the bytes.
    // So a stream that nobody reads holds its own window and no more.
    nghttp2_session_consume_connection(raw, size);
    if (size < H2Session::kShareBytesMin) {
      runtime::Buffer copy =
          session.pool_.copy_of(std::string_view(reinterpret_cast<const char*>(bytes), size));
      session.observer_.on_data(stream, std::move(copy));
    } else {
      const auto offset = static_cast<size_t>(bytes - session.feeding_->data());
      session.observer_.on_data(stream, session.feeding_->share(offset, size));
    }
    return 0;
  }

  static int closed(nghttp2_session*, int32_t stream, uint32_t error, void* user) {
    self(user).observer_.on_closed(stream, error);
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
    return static_cast<ssize_t>(ready.bytes);
  }

  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* frame_header,
                       size_t size, nghttp2_data_source*, void* user) {
    H2Session& session = self(user);
    const std::span<uint8_t> tail = session.out_.tail();
    if (tail.size() < kFrameHeaderBytes + size) return NGHTTP2_ERR_WOULDBLOCK;
    std::memcpy(tail.data(), frame_header, kFrameHeaderBytes);
    if (size > 0) {
      session.observer_.take_outgoing(frame->hd.stream_id, tail.subspan(kFrameHeaderBytes, size));
    }
    session.out_.extend(kFrameHeaderBytes + size);
    return 0;
  }
};

namespace {

struct OptionDeleter {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
};
struct CallbacksDeleter {
  void operator()(nghttp2_session_callbacks* callbacks) const {
    nghttp2_session_callbacks_del(callbacks);
  }
};

std::unique_ptr<nghttp2_option, OptionDeleter> make_options() {
  nghttp2_option* option = nullptr;
  CHECK(nghttp2_option_new(&option) == 0);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_max_outbound_ack(option, H2Session::kOutboundAcksMax);
  return std::unique_ptr<nghttp2_option, OptionDeleter>(option);
}

}  // namespace

H2Session::H2Session(H2Role role, const H2Limits& limits, H2Observer& observer,
                     runtime::BufferPool& pool)
    : pool_(pool), role_(role), observer_(observer), block_(std::make_unique<Block>()) {
  nghttp2_session_callbacks* raw = nullptr;
  CHECK(nghttp2_session_callbacks_new(&raw) == 0);
  const std::unique_ptr<nghttp2_session_callbacks, CallbacksDeleter> callbacks(raw);
  nghttp2_session_callbacks_set_on_begin_headers_callback(raw, Callbacks::begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(raw, Callbacks::header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(raw, Callbacks::frame_received);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(raw, Callbacks::data);
  nghttp2_session_callbacks_set_on_stream_close_callback(raw, Callbacks::closed);
  nghttp2_session_callbacks_set_data_source_read_length_callback(raw, Callbacks::read_length);
  nghttp2_session_callbacks_set_send_data_callback(raw, Callbacks::send_data);
  const auto options = make_options();
  const bool server = role == H2Role::kServer;
  CHECK((server ? nghttp2_session_server_new2(&session_, raw, this, options.get())
                : nghttp2_session_client_new2(&session_, raw, this, options.get())) == 0);

  std::vector<nghttp2_settings_entry> settings{
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_list_bytes_max},
  };
  if (server) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams_max});
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

Result<void> H2Session::feed(const runtime::Buffer& bytes) {
  feeding_ = &bytes;
  const ssize_t taken = nghttp2_session_mem_recv(session_, bytes.data(), bytes.size());
  feeding_ = nullptr;
  if (taken < 0) {
    return fail(Code::kInvalid,
                "HTTP/2: the peer broke the protocol: " + describe(static_cast<int>(taken)));
  }
  return {};
}

Result<runtime::Buffer> H2Session::produce() {
  if (nghttp2_session_want_write(session_) == 0) return runtime::Buffer();
  out_ = pool_.get();
  while (true) {
    // Room for a whole DATA frame, or for the largest control frame that nghttp2 makes for us.
    if (out_.tail().size() < kFrameHeaderBytes + kDataBytesMax) break;
    const uint8_t* control = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &control);
    if (size < 0) {
      out_.clear();
      return fail(Code::kInternal, "HTTP/2: " + describe(static_cast<int>(size)));
    }
    if (size == 0) break;
    CHECK(static_cast<size_t>(size) <= out_.tail().size());
    std::memcpy(out_.tail().data(), control, static_cast<size_t>(size));
    out_.extend(static_cast<size_t>(size));
  }
  return std::move(out_);
}

bool H2Session::is_finished() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

Result<int32_t> H2Session::submit_request(const std::vector<Header>& headers, bool end) {
  const std::vector<nghttp2_nv> nvs = to_nvs(headers);
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::outgoing;
  const int32_t stream = nghttp2_submit_request(session_, nullptr, nvs.data(), nvs.size(),
                                                end ? nullptr : &provider, nullptr);
  if (stream < 0) return fail(Code::kUnavailable, "HTTP/2 request: " + describe(stream));
  return stream;
}

Result<void> H2Session::submit_response(int32_t stream, const std::vector<Header>& headers,
                                        bool end) {
  const std::vector<nghttp2_nv> nvs = to_nvs(headers);
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::outgoing;
  const int done =
      nghttp2_submit_response(session_, stream, nvs.data(), nvs.size(), end ? nullptr : &provider);
  if (done != 0) return fail(Code::kUnavailable, "HTTP/2 response: " + describe(done));
  return {};
}

void H2Session::resume(int32_t stream) { nghttp2_session_resume_data(session_, stream); }

void H2Session::reset(int32_t stream, uint32_t error) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream, error);
}

void H2Session::consume(int32_t stream, size_t bytes) {
  nghttp2_session_consume_stream(session_, stream, bytes);
}

void H2Session::ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

void H2Session::goaway() {
  if (role_ == H2Role::kServer) {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                          nullptr, 0);
  } else {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  }
}

void H2Session::terminate(uint32_t error) { nghttp2_session_terminate_session(session_, error); }

uint32_t H2Session::peer_streams_max() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

}  // namespace weft::http
