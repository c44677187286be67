#pragma once

#include <string>
#include <string_view>
#include <vector>

// The repository's own lint: what the plan of the house asks of every file, as functions from text
// to offences, so that the rules themselves are tested on small samples.

namespace weft::house {

struct File {
  std::string path;  // from the repository's root, with '/'
  std::string text;
};

// An offence reads "path:line: what is wrong".
using Offences = std::vector<std::string>;

constexpr size_t kFileLinesMax = 500;
constexpr size_t kLineColumnsMax = 100;
constexpr size_t kReadmeLinesMax = 20;

// Includes that the plan forbids: see kRooms in house_rules.cc.
Offences check_includes(const File& file);
// Files that are too long, lines that are too wide.
Offences check_size(const File& file);
// Calls that are unsafe or out of place, and words that say that something is unfinished.
Offences check_banned(const File& file);
// Lambdas that capture and are coroutines: the captures die with the lambda, before the coroutine.
Offences check_lambdas(const File& file);
// Paths that exist on one machine only.
Offences check_machine_paths(const File& file);
// Every folder with sources has a short README; the root holds what the plan names and no more.
Offences check_layout(const std::vector<File>& files);

// All of them.
Offences check(const std::vector<File>& files);

// The text with comments and the contents of literals blanked out; lines and columns stay.
std::string code_only(std::string_view text);

}  // namespace weft::house
