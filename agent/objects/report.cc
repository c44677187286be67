#include "agent/objects/report.h"

#include <algorithm>
#include <numeric>

namespace weft::objects {

namespace {

// Whether `path` is `other` or lies below it.
bool is_below(std::string_view path, std::string_view other) {
  if (!path.starts_with(other)) return false;
  return path.size() == other.size() || other.empty() || path[other.size()] == '.' ||
         path[other.size()] == '[';
}

// Levenshtein's distance. Both are names of fields: short.
size_t distance(std::string_view left, std::string_view right) {
  std::vector<size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < left.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < right.size(); ++j) {
      const size_t above = row[j + 1];
      const bool same = (left[i] | 0x20) == (right[j] | 0x20);  // letters: upper and lower alike
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (same ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
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
  // Names and keys are whatever somebody wrote: they must not begin a line of their own.
  for (char& character : text) {
    if (static_cast<unsigned char>(character) < 0x20 || character == 0x7f) character = '?';
  }
  errors_.emplace_back(Code::kInvalid, std::move(text));
  paths_.push_back(path_);
}

std::vector<Error> Report::take() {
  if (left_out_ > 0) {
    errors_.emplace_back(Code::kInvalid,
                         subject_ + ": and " + std::to_string(left_out_) + " more mistakes");
  }
  return std::move(errors_);
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
