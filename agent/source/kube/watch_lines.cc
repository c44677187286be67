#include "agent/source/kube/watch_lines.h"

namespace weft::source::kube {

namespace {
// A buffer that held a large event is not kept for the small ones.
constexpr size_t kKeptBytes = 256U << 10;
}  // namespace

Result<std::optional<std::string_view>> WatchLines::next() {
  if (handed_out_) {
    handed_out_ = false;
    line_.clear();
    if (line_.capacity() > kKeptBytes) line_.shrink_to_fit();
  }
  while (!fed_.empty()) {
    const size_t end = fed_.find('\n');
    const std::string_view piece = fed_.substr(0, end);
    if (line_.size() + piece.size() > line_bytes_max_) {
      return fail(Code::kLimit, "the API server sent a watch event of more than " +
                                    std::to_string(line_bytes_max_) + " bytes");
    }
    fed_.remove_prefix(end == std::string_view::npos ? fed_.size() : end + 1);
    if (end == std::string_view::npos) {
      line_ += piece;
      return std::nullopt;
    }
    if (line_.empty()) {
      if (piece.empty() || piece == "\r") continue;
      return piece;
    }
    line_ += piece;
    handed_out_ = true;
    return std::string_view(line_);
  }
  return std::nullopt;
}

}  // namespace weft::source::kube
