#include "tests/unit/ztunnel/telemetry/exposition_reader.h"

#include <cstdlib>

namespace weft::telemetry {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view line) : rest_(line) {}

  bool at_end() const { return rest_.empty(); }
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // [a-zA-Z_:][a-zA-Z0-9_:]*, without colons for labels.
  std::string name(bool colons) {
    size_t size = 0;
    while (size < rest_.size()) {
      const char c = rest_[size];
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
      const bool digit = c >= '0' && c <= '9' && size > 0;
      if (!letter && !digit && !(colons && c == ':')) break;
      ++size;
    }
    std::string found(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return found;
  }
  std::optional<std::string> quoted() {
    if (!take('"')) return std::nullopt;
    std::string value;
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return value;
      if (c != '\\') {
        value += c;
        continue;
      }
      if (rest_.empty()) return std::nullopt;
      const char escaped = rest_.front();
      rest_.remove_prefix(1);
      if (escaped != '\\' && escaped != '"' && escaped != 'n') return std::nullopt;
      value += escaped == 'n' ? '\n' : escaped;
    }
    return std::nullopt;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

std::optional<SampleLabels> read_labels(Reader& reader) {
  SampleLabels labels;
  if (!reader.take('{')) return labels;
  while (!reader.take('}')) {
    const std::string name = reader.name(false);
    if (name.empty() || !reader.take('=')) return std::nullopt;
    const std::optional<std::string> value = reader.quoted();
    if (!value || !labels.emplace(name, *value).second) return std::nullopt;
    if (!reader.take(',') && !reader.rest().starts_with('}')) return std::nullopt;
  }
  return labels;
}

std::string read_comment(std::string_view line, Exposition& exposition) {
  const bool help = line.starts_with("# HELP ");
  if (!help && !line.starts_with("# TYPE ")) return "an odd comment";
  Reader reader(line.substr(7));
  const std::string name = reader.name(true);
  if (name.empty() || !reader.take(' ')) return "a comment without a name";
  auto& known = help ? exposition.helps : exposition.types;
  if (!known.emplace(name, reader.rest()).second) return "HELP or TYPE given twice";
  if (exposition.samples.contains(name)) return "HELP or TYPE behind a sample";
  static const std::set<std::string_view> kTypes{"counter", "gauge", "histogram"};
  return help || kTypes.contains(reader.rest()) ? "" : "an odd type";
}

std::string read_sample(std::string_view line, std::string& family, Exposition& exposition) {
  Reader reader(line);
  const std::string name = reader.name(true);
  if (name.empty()) return "a sample without a name";
  const std::optional<SampleLabels> labels = read_labels(reader);
  if (!labels || !reader.take(' ')) return "malformed labels";
  char* end = nullptr;
  const std::string number(reader.rest());
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end != '\0') return "a value that is no number";
  if (name != family && exposition.samples.contains(name)) return "samples of a name lie apart";
  family = name;
  if (!exposition.samples[name].emplace(*labels, value).second) return "a series given twice";
  return "";
}

}  // namespace

Exposition read_exposition(std::string_view text) {
  Exposition exposition;
  std::string family;
  if (!text.empty() && text.back() != '\n') exposition.error = "the last line has no end";
  while (!text.empty() && exposition.error.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line.empty()) continue;
    const std::string wrong = line.starts_with('#') ? read_comment(line, exposition)
                                                    : read_sample(line, family, exposition);
    if (!wrong.empty()) exposition.error = wrong + ": " + std::string(line);
  }
  return exposition;
}

}  // namespace weft::telemetry
