#include "agent/objects/report.h"

#include <algorithm>

namespace weft::objects {

namespace {

// Whether `path` is `other` or lies below it.
bool is_below(std::string_view path, std::string_view other) {
  if (!path.starts_with(other)) return false;
  return path.size() == other.size() || other.empty() || path[other.size()] == '.' ||
         path[other.size()] == '[';
}

// How many letters to change, add, leave out or swap with their neighbour (optimal string
// alignment). Both are names of fields: short.
size_t distance(std::string_view left, std::string_view right) {
  const size_t width = right.size() + 1;
  std::vector<size_t> cost((left.size() + 1) * width);
  for (size_t i = 0; i <= left.size(); ++i) cost[i * width] = i;
  for (size_t j = 0; j < width; ++j) cost[j] = j;
  const auto same = [](char a, char b) { return (a | 0x20) == (b | 0x20); };  // letters of any case
  for (size_t i = 1; i <= left.size(); ++i) {
    for (size_t j = 1; j < width; ++j) {
      const size_t change = same(left[i - 1], right[j - 1]) ? 0 : 1;
      size_t best = std::min({cost[(i - 1) * width + j] + 1, cost[i * width + j - 1] + 1,
                              cost[(i - 1) * width + j - 1] + change});
      if (i > 1 && j > 1 && same(left[i - 1], right[j - 2]) && same(left[i - 2], right[j - 1])) {
        best = std::min(best, cost[(i - 2) * width + j - 2] + 1);
      }
      cost[i * width + j] = best;
    }
  }
  return cost.back();
}

}  // namespace

Report::Step::Step(Report& report, std::string_view step)
    : report_(report), length_before_(report.path_.size()) {
  report_.path_ += step;
}

Report::Step::~Step() { report_.path_.resize(length_before_); }

Report::Step Report::at(std::string_view field) {
  return {*this, path_.empty() ? std::string(field) : "." + std::string(field)};
}

Report::Step Report::at(size_t index) { return {*this, "[" + std::to_string(index) + "]"}; }

Report::Step Report::at_key(std::string_view key) { return {*this, "[" + std::string(key) + "]"}; }

void Report::add(std::string_view message) {
  for (const std::string& known : paths_) {
    if (is_below(known, path_) || is_below(path_, known)) return;
  }
  if (errors_.size() == kErrorsMax) {
    ++left_out_;
    return;
  }
  std::string text = subject_ + ": ";
  if (!path_.empty()) text += path_ + ": ";
  text += message;
  errors_.emplace_back(Code::kInvalid, one_line(std::move(text)));
  paths_.push_back(path_);
}

std::vector<Error> Report::take() {
  if (left_out_ > 0) {
    errors_.emplace_back(Code::kInvalid,
                         subject_ + ": and " + std::to_string(left_out_) + " more mistakes");
  }
  return std::move(errors_);
}

std::string one_line(std::string text) {
  for (char& character : text) {
    if (static_cast<unsigned char>(character) < 0x20 || character == 0x7f) character = '?';
  }
  return text;
}

std::string_view nearest(std::string_view name, const std::vector<std::string_view>& candidates) {
  constexpr size_t kComparedMax = 64;  // longer than any name of a field
  if (name.size() > kComparedMax) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const size_t found = distance(name, candidate);
    if (found < best_distance) {
      best = candidate;
      best_distance = found;
    }
  }
  return best;
}

}  // namespace weft::objects
