#pragma once

#include "ztunnel/base/result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// One flag that a command knows. Switches take no value; the others are written "--name value",
// "--name=value" or, where they have a letter, "-l value".
struct Flag {
  enum class Kind { kOptional, kRequired, kSwitch };

  std::string name;        // without the dashes
  std::string value = {};  // what the help calls the value: "DIR", "IP:PORT"
  std::string help = {};
  Kind kind = Kind::kOptional;
  std::string fallback = {};  // an optional flag's value where it is not given
  char letter = 0;            // 0: no short form
};

// A parsed command line, behind the subcommand:
//   const Flags flags = TRY(Flags::parse(args, {{.name = "state", .value = "DIR", .kind = ..}}));
//   if (flags.help()) { write(Flags::help_text("weft-agent control", known)); return 0; }
class Flags {
 public:
  // kInvalid, as one line that names the flag: an unknown one (then the known ones are listed), one
  // given twice, one without its value, a required one that is missing, more than `positional_max`
  // arguments that are no flags. --help or -h ends the parsing without an error. What follows "--"
  // is rest(), untouched. A value that begins with "--" must be written "--name=--value".
  static Result<Flags> parse(const std::vector<std::string>& args, const std::vector<Flag>& known,
                             size_t positional_max = 0);
  static std::string help_text(std::string_view command, const std::vector<Flag>& known);

  bool help() const { return help_; }
  // Whether it was written on the command line.
  bool has(std::string_view name) const { return given_.contains(name); }
  // The value given, or the fallback. The name must be a known one.
  const std::string& get(std::string_view name) const;
  // The value as a decimal number between the bounds, both included; kInvalid otherwise.
  Result<int64_t> number(std::string_view name, int64_t min, int64_t max) const;
  // The value split at commas, without empty parts.
  std::vector<std::string> list(std::string_view name) const;
  const std::vector<std::string>& positional() const { return positional_; }
  const std::vector<std::string>& rest() const { return rest_; }

 private:
  bool help_ = false;
  std::map<std::string, std::string, std::less<>> given_;
  std::map<std::string, std::string, std::less<>> fallback_;  // of every known flag
  std::vector<std::string> positional_;
  std::vector<std::string> rest_;
};

}  // namespace weft
