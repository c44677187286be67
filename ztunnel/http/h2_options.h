#pragma once

#include "ztunnel/base/check.h"

#include <nghttp2/nghttp2.h>

#include <memory>

// nghttp2's settings objects with their owners. Only for this room's .cc files.

namespace weft::http {

struct H2Delete {
  void operator()(nghttp2_option* option) const { nghttp2_option_del(option); }
  void operator()(nghttp2_session_callbacks* callbacks) const {
    nghttp2_session_callbacks_del(callbacks);
  }
};
using H2OptionPtr = std::unique_ptr<nghttp2_option, H2Delete>;
using H2CallbacksPtr = std::unique_ptr<nghttp2_session_callbacks, H2Delete>;

inline H2CallbacksPtr make_h2_callbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
  return H2CallbacksPtr(callbacks);
}

inline H2OptionPtr make_h2_option(size_t acks_max, uint64_t resets_burst,
                                  uint64_t resets_per_second) {
  nghttp2_option* option = nullptr;
  CHECK(nghttp2_option_new(&option) == 0);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_max_outbound_ack(option, acks_max);
  nghttp2_option_set_stream_reset_rate_limit(option, resets_burst, resets_per_second);
  return H2OptionPtr(option);
}

}  // namespace weft::http
