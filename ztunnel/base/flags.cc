#include "ztunnel/base/flags.h"

#include "ztunnel/base/check.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace weft {
namespace {

std::string usage_of(const Flag& flag) {
  std::string usage = flag.letter != 0 ? std::string("-") + flag.letter + ", --" : "--";
  usage += flag.name;
  if (flag.kind != Flag::Kind::kSwitch) usage += " " + (flag.value.empty() ? "VALUE" : flag.value);
  return usage;
}

std::string list_of(const std::vector<Flag>& known) {
  std::string list;
  for (const Flag& flag : known) list += usage_of(flag) + ", ";
  return list + "--help";
}

// One argument that begins with a dash: which flag, and the value where it is in the same argument.
struct Written {
  const Flag* flag;
  std::optional<std::string> value;
};

Result<Written> look_up(std::string_view arg, const std::vector<Flag>& known) {
  const bool is_long = arg.starts_with("--");
  const std::string_view body = arg.substr(is_long ? 2 : 1);
  const size_t equals = is_long ? body.find('=') : std::string_view::npos;
  const std::string_view name = body.substr(0, equals);
  const auto found = std::ranges::find_if(known, [&](const Flag& flag) {
    return is_long ? flag.name == name
                   : flag.letter != 0 && name.size() == 1 && flag.letter == name.front();
  });
  if (found == known.end()) {
    return fail(Code::kInvalid, "unknown flag " + std::string(arg.substr(0, arg.find('='))) +
                                    "; known are: " + list_of(known));
  }
  Written written{&*found, std::nullopt};
  if (equals != std::string_view::npos) written.value = body.substr(equals + 1);
  return written;
}

}  // namespace

Result<Flags> Flags::parse(const std::vector<std::string>& args, const std::vector<Flag>& known,
                           size_t positional_max) {
  Flags flags;
  for (const Flag& flag : known) flags.fallback_.emplace(flag.name, flag.fallback);
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--") {
      flags.rest_.assign(args.begin() + static_cast<ptrdiff_t>(i) + 1, args.end());
      break;
    }
    if (arg == "--help" || arg == "-h") {
      flags.help_ = true;
      return flags;
    }
    if (arg.size() < 2 || arg.front() != '-') {
      if (flags.positional_.size() >= positional_max) {
        return fail(Code::kInvalid, "unexpected argument \"" + arg + "\"");
      }
      flags.positional_.push_back(arg);
      continue;
    }
    Written written = TRY(look_up(arg, known));
    const std::string& name = written.flag->name;
    if (written.flag->kind == Flag::Kind::kSwitch) {
      if (written.value) return fail(Code::kInvalid, "--" + name + " takes no value");
      written.value = "true";
    } else if (!written.value) {
      if (i + 1 >= args.size() || args[i + 1].starts_with("--")) {
        return fail(Code::kInvalid, "--" + name + " needs a value: " + usage_of(*written.flag));
      }
      written.value = args[++i];
    }
    if (!flags.given_.emplace(name, std::move(*written.value)).second) {
      return fail(Code::kInvalid, "--" + name + " is given twice");
    }
  }
  for (const Flag& flag : known) {
    if (flag.kind == Flag::Kind::kRequired && !flags.has(flag.name)) {
      return fail(Code::kInvalid, "missing flag " + usage_of(flag) + ": " + flag.help);
    }
  }
  return flags;
}

std::string Flags::help_text(std::string_view command, const std::vector<Flag>& known) {
  std::string text = "usage: " + std::string(command) + (known.empty() ? "" : " [flags]") + "\n";
  size_t width = 0;
  for (const Flag& flag : known) width = std::max(width, usage_of(flag).size());
  for (const Flag& flag : known) {
    const std::string usage = usage_of(flag);
    text += "  " + usage + std::string(width - usage.size() + 2, ' ') + flag.help;
    if (flag.kind == Flag::Kind::kRequired) text += " (required)";
    if (!flag.fallback.empty()) text += " (default " + flag.fallback + ")";
    text += "\n";
  }
  return text;
}

const std::string& Flags::get(std::string_view name) const {
  if (const auto given = given_.find(name); given != given_.end()) return given->second;
  const auto fallback = fallback_.find(name);
  CHECK(fallback != fallback_.end());
  return fallback->second;
}

Result<int64_t> Flags::number(std::string_view name, int64_t min, int64_t max) const {
  const std::string& text = get(name);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < min || value > max) {
    return fail(Code::kInvalid, "--" + std::string(name) + ": expected a number from " +
                                    std::to_string(min) + " to " + std::to_string(max) +
                                    ", got \"" + text + "\"");
  }
  return value;
}

std::vector<std::string> Flags::list(std::string_view name) const {
  std::vector<std::string> parts;
  std::string_view text = get(name);
  while (!text.empty()) {
    const size_t comma = text.find(',');
    if (comma != 0) parts.emplace_back(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return parts;
}

}  // namespace weft
