#pragma once

#include "ztunnel/base/result.h"

#include <optional>
#include <string>
#include <string_view>

namespace weft::source::kube {

// Cuts a watch's bytes into its events, one a line, however they come. Holds at most one unfinished
// event.
class WatchLines {
 public:
  explicit WatchLines(size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  // next() must have returned nothing before more is fed.
  void feed(std::string_view bytes) { fed_ = bytes; }
  // The next whole line without its end, empty ones passed over; valid until the next call.
  // Nothing: feed more. kLimit: no honest event is so long; the rest is of no use.
  Result<std::optional<std::string_view>> next();
  // Whether the server stopped in the middle of an event.
  bool is_cut() const { return !line_.empty(); }

 private:
  size_t line_bytes_max_;
  std::string_view fed_;
  std::string line_;         // the beginning of an event
  bool handed_out_ = false;  // line_ was the latest
};

}  // namespace weft::source::kube
