#include "tests/unit/house_rules.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <set>
#include <span>

namespace weft::house {
namespace {

// Which rooms a room may include besides itself. An entry that names a header allows that one only.
struct Room {
  std::string_view name;
  std::vector<std::string_view> may_include;
};

const std::vector<std::string_view> kFloor{"ztunnel/base", "ztunnel/runtime", "ztunnel/tls",
                                           "ztunnel/http", "ztunnel/dns"};

std::vector<std::string_view> with_floor(std::vector<std::string_view> rooms) {
  rooms.insert(rooms.end(), kFloor.begin(), kFloor.end());
  return rooms;
}

const std::vector<Room>& rooms() {
  static const std::vector<Room> kRooms{
      {"bpf", {}},
      {"proto", {}},
      {"proto/crd", {"proto"}},
      // The floor: each stands on those before it.
      {"ztunnel/base", {}},
      {"ztunnel/runtime", {"ztunnel/base"}},
      {"ztunnel/tls", {"ztunnel/base", "ztunnel/runtime"}},
      {"ztunnel/http", {"ztunnel/base", "ztunnel/runtime", "ztunnel/tls"}},
      {"ztunnel/dns", {"ztunnel/base", "ztunnel/runtime"}},
      {"ztunnel/policy", {"ztunnel/base", "proto"}},
      {"ztunnel/routing", {"ztunnel/base", "ztunnel/http/message.h", "proto"}},
      {"ztunnel/hbone", with_floor({})},
      {"ztunnel/telemetry", with_floor({"proto"})},
      {"ztunnel/learn", with_floor({"ztunnel/policy", "ztunnel/telemetry", "proto"})},
      {"ztunnel/role", with_floor({"ztunnel/policy", "ztunnel/hbone", "ztunnel/learn",
                                   "ztunnel/telemetry", "proto"})},
      {"ztunnel/node", with_floor({"ztunnel/policy", "ztunnel/hbone", "ztunnel/learn",
                                   "ztunnel/telemetry", "ztunnel/role", "proto"})},
      {"ztunnel/waypoint",
       with_floor({"ztunnel/routing", "ztunnel/policy", "ztunnel/hbone", "ztunnel/learn",
                   "ztunnel/telemetry", "ztunnel/role", "proto"})},
      {"ztunnel", with_floor({"ztunnel/policy", "ztunnel/hbone", "ztunnel/learn", "ztunnel/role",
                              "ztunnel/node", "ztunnel/waypoint", "ztunnel/telemetry", "proto"})},
      {"agent/model", {"ztunnel/base"}},
      {"agent/objects", with_floor({"agent/model", "proto", "proto/crd"})},
      {"agent/objects/crd", {"agent/objects", "proto/crd"}},
      {"agent/source", with_floor({"agent/model", "agent/objects", "proto/crd"})},
      {"agent/source/kube",
       with_floor({"agent/model", "agent/objects", "agent/source", "proto/crd"})},
      {"agent/compile", with_floor({"agent/compile/l7", "agent/model", "agent/objects",
                                    "agent/source", "proto", "proto/crd"})},
      {"agent/compile/l7",
       {"agent/compile", "agent/objects", "agent/model", "proto", "proto/crd", "ztunnel/base"}},
      {"agent/compile/analyze",
       {"agent/compile", "agent/compile/l7", "agent/objects", "agent/model", "proto/crd",
        "ztunnel/base"}},
      {"agent/identity", with_floor({"agent/model", "proto"})},
      {"agent/xds",
       with_floor({"agent/model", "agent/compile", "agent/identity/token.h", "proto"})},
      {"agent/control/kube",
       with_floor({"agent/model", "agent/objects", "agent/source", "agent/source/kube",
                   "agent/compile", "agent/identity", "proto", "proto/crd"})},
      {"agent/control", with_floor({"agent/model", "agent/objects", "agent/source",
                                    "agent/source/kube", "agent/compile", "agent/xds",
                                    "agent/identity", "agent/control/kube", "proto", "proto/crd"})},
      {"agent/cni", {"ztunnel/base", "ztunnel/runtime", "agent/objects/tree.h"}},
      {"agent/enrol",
       with_floor({"agent/model", "agent/objects", "agent/source", "agent/source/kube",
                   "agent/compile", "agent/cni", "bpf", "proto", "proto/crd"})},
      {"agent/trace", with_floor({"agent/model", "agent/enrol", "bpf", "proto"})},
      {"agent/sandbox", with_floor({"agent/model", "agent/objects", "agent/source", "agent/compile",
                                    "agent/identity", "proto", "proto/crd"})},
      {"agent/web", with_floor({"agent/model", "agent/trace"})},
      {"agent/cli", with_floor({"agent/model", "agent/objects", "agent/source", "agent/source/kube",
                                "agent/compile", "agent/compile/analyze", "agent/identity",
                                "agent/sandbox", "agent/trace", "proto", "proto/crd"})},
      {"agent", with_floor({"agent/model", "agent/objects", "agent/source", "agent/source/kube",
                            "agent/compile", "agent/identity", "agent/xds", "agent/control",
                            "agent/enrol", "agent/trace", "agent/sandbox", "agent/web", "agent/cli",
                            "proto", "proto/crd"})},
  };
  return kRooms;
}

constexpr std::array<std::string_view, 4> kHouses{"agent", "ztunnel", "bpf", "proto"};

const std::set<std::string_view> kTopLevel{
    "CMakeLists.txt", "CMakePresets.json", "bpf",       "agent",  "ztunnel", "proto", "helm",
    "tests",          "scripts",           "README.md", "LICENSE"};

std::string_view folder_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? "" : path.substr(0, slash);
}

std::string_view first_part(std::string_view path) { return path.substr(0, path.find('/')); }

bool ends_in_any(std::string_view path, std::initializer_list<std::string_view> endings) {
  return std::ranges::any_of(endings, [&](auto ending) { return path.ends_with(ending); });
}

bool is_source(std::string_view path) { return ends_in_any(path, {".h", ".cc", ".c"}); }

// bpftool writes it from a running kernel; nobody reads it.
bool is_generated(std::string_view path) { return path.ends_with("/vmlinux.h"); }

bool is_product(std::string_view path) {
  return path.contains('/') && std::ranges::count(kHouses, first_part(path)) > 0;
}

std::string at(const File& file, size_t line, std::string_view what) {
  return file.path + ":" + std::to_string(line) + ": " + std::string(what);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

size_t line_at(std::string_view text, size_t position) {
  return 1 + static_cast<size_t>(std::ranges::count(text.substr(0, position), '\n'));
}

const Room* find_room(std::string_view folder) {
  const auto found = std::ranges::find(rooms(), folder, &Room::name);
  return found == rooms().end() ? nullptr : &*found;
}

// The quoted path of an #include line, or nothing.
std::string_view included(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with('#')) return {};
  line.remove_prefix(std::min(line.find_first_not_of(" \t", 1), line.size()));
  if (!line.starts_with("include")) return {};
  const size_t begin = line.find('"');
  if (begin == std::string_view::npos) return {};
  const size_t end = line.find('"', begin + 1);
  return end == std::string_view::npos ? std::string_view()
                                       : line.substr(begin + 1, end - begin - 1);
}

bool is_word_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Where `word` stands in `line` with nothing of a word on the sides where it is one itself.
bool has_word(std::string_view line, std::string_view word) {
  for (size_t at = line.find(word); at != std::string_view::npos; at = line.find(word, at + 1)) {
    const size_t end = at + word.size();
    const bool starts = at == 0 || !is_word_character(line[at - 1]);
    const bool stops =
        !is_word_character(word.back()) || end == line.size() || !is_word_character(line[end]);
    if (starts && stops) return true;
  }
  return false;
}

struct Banned {
  std::string_view word;
  std::string_view instead;
};

constexpr std::array kBannedCalls{
    Banned{"strcpy(", "it does not know the bound"},
    Banned{"strcat(", "it does not know the bound"},
    Banned{"sprintf(", "it does not know the bound"},
    Banned{"gets(", "it does not know the bound"},
    Banned{"rand(", "not random enough for anything, not seeded in tests"},
    Banned{"srand(", "not random enough for anything, not seeded in tests"},
};
// Waiting is the loop's: whoever sleeps holds up every connection of the thread. The command and
// the sandbox's supervisor have no loop and no connections.
constexpr std::array<std::string_view, 4> kSleeps{"sleep_for", "sleep_until", "usleep(",
                                                  "nanosleep("};
constexpr std::array<std::string_view, 2> kThreads{"std::thread", "std::jthread"};
// Words of unfinished work, split so that this file does not offend.
constexpr std::array<std::string_view, 5> kUnfinished{
    "FIX"
    "ME",
    "XX"
    "X",
    "not imple"
    "mented",
    "for n"
    "ow",
    "st"
    "ub"};

bool may_sleep(std::string_view path) {
  return path.starts_with("agent/cli/") || path.starts_with("agent/sandbox/");
}

bool may_use_threads(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  return path.starts_with("ztunnel/runtime/") || path.starts_with("agent/control/") ||
         path.starts_with("agent/sandbox/") || name == "main.cc" || name.ends_with("_main.cc") ||
         name.starts_with("run_");  // a role's main
}

size_t columns_of(std::string_view line) {
  return static_cast<size_t>(std::ranges::count_if(
      line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

size_t back_over_spaces(std::string_view text, size_t end) {
  while (end > 0 && std::isspace(static_cast<unsigned char>(text[end - 1]))) --end;
  return end;
}

// From just behind a closing bracket to its opening one; npos where there is none.
size_t opening_of(std::string_view text, size_t end, char open, char close) {
  if (end == 0 || text[end - 1] != close) return std::string_view::npos;
  size_t depth = 0;
  for (size_t i = end; i > 0; --i) {
    if (text[i - 1] == close) ++depth;
    if (text[i - 1] == open && --depth == 0) return i - 1;
  }
  return std::string_view::npos;
}

std::string_view body_from(std::string_view text, size_t begin) {
  size_t depth = 0;
  for (size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return text.substr(begin, i - begin);
    if (text[i] == ';' && depth == 0) return {};
  }
  return {};
}

// Whether the "->" at `arrow` is the return type of a lambda that captures something.
bool is_capturing_lambda(std::string_view code, size_t arrow) {
  size_t end = back_over_spaces(code, arrow);
  for (const std::string_view word : {"mutable", "noexcept"}) {
    if (code.substr(0, end).ends_with(word)) end = back_over_spaces(code, end - word.size());
  }
  const size_t parameters = opening_of(code, end, '(', ')');
  if (parameters == std::string_view::npos) return false;
  end = back_over_spaces(code, parameters);
  const size_t captures = opening_of(code, end, '[', ']');
  if (captures == std::string_view::npos) return false;
  return back_over_spaces(code, end - 1) > captures + 1;
}

}  // namespace

std::string code_only(std::string_view text) {
  std::string code(text);
  const auto blank = [&](size_t from, size_t to) {
    for (size_t i = from; i < std::min(to, code.size()); ++i) {
      if (code[i] != '\n') code[i] = ' ';
    }
  };
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    if (rest.starts_with("//") || rest.starts_with("/*")) {
      const std::string_view closing = rest[1] == '/' ? "\n" : "*/";
      const size_t end = text.find(closing, i + 2);
      blank(i, end == std::string_view::npos ? text.size() : end + closing.size());
      i = end == std::string_view::npos ? text.size() : end + closing.size();
    } else if (rest.starts_with("R\"")) {
      const size_t open = text.find('(', i);
      const std::string closing = open == std::string_view::npos
                                      ? ")\""
                                      : ")" + std::string(text.substr(i + 2, open - i - 2)) + "\"";
      const size_t end = text.find(closing, i);
      blank(i + 2, end == std::string_view::npos ? text.size() : end);
      i = end == std::string_view::npos ? text.size() : end + closing.size();
    } else if (rest[0] == '"' || (rest[0] == '\'' && (i == 0 || !is_word_character(text[i - 1])))) {
      size_t end = i + 1;
      while (end < text.size() && text[end] != rest[0] && text[end] != '\n') {
        end += text[end] == '\\' ? 2 : 1;
      }
      blank(i + 1, end);
      i = end + 1;
    } else {
      ++i;
    }
  }
  return code;
}

Offences check_includes(const File& file) {
  Offences offences;
  if (!is_product(file.path) || !is_source(file.path) || is_generated(file.path)) return offences;
  const std::string_view folder = folder_of(file.path);
  const Room* room = find_room(folder);
  if (room == nullptr) return {at(file, 1, "the plan knows no room " + std::string(folder))};
  size_t number = 0;
  for (const std::string_view line : lines_of(file.text)) {
    ++number;
    const std::string_view target = included(line);
    const std::string_view house = first_part(target);
    const bool ours =
        target.contains('/') && (std::ranges::count(kHouses, house) > 0 || house == "tests");
    if (!ours) continue;
    const std::string_view target_room = folder_of(target);
    const bool allowed = target_room == folder ||
                         std::ranges::count(room->may_include, target_room) > 0 ||
                         std::ranges::count(room->may_include, target) > 0;
    if (allowed) continue;
    offences.push_back(
        at(file, number, std::string(folder) + " may not include " + std::string(target)));
  }
  return offences;
}

Offences check_size(const File& file) {
  Offences offences;
  if (!is_source(file.path) || is_generated(file.path)) return offences;
  const std::vector<std::string_view> lines = lines_of(file.text);
  if (lines.size() > kFileLinesMax) {
    offences.push_back(at(file, kFileLinesMax + 1,
                          "the file has " + std::to_string(lines.size()) + " lines, more than " +
                              std::to_string(kFileLinesMax)));
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    if (columns_of(lines[i]) <= kLineColumnsMax) continue;
    offences.push_back(
        at(file, i + 1, "the line is wider than " + std::to_string(kLineColumnsMax) + " columns"));
  }
  return offences;
}

Offences check_banned(const File& file) {
  Offences offences;
  if (!is_product(file.path) || !is_source(file.path) || is_generated(file.path)) return offences;
  const std::string code = code_only(file.text);
  const std::vector<std::string_view> code_lines = lines_of(code);
  const std::vector<std::string_view> lines = lines_of(file.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto offend = [&](std::string_view what, std::string_view why) {
      offences.push_back(at(file, i + 1, std::string(what) + ": " + std::string(why)));
    };
    for (const Banned& banned : kBannedCalls) {
      if (has_word(code_lines[i], banned.word)) offend(banned.word, banned.instead);
    }
    for (const std::string_view word : kSleeps) {
      if (has_word(code_lines[i], word) && !may_sleep(file.path)) {
        offend(word, "only the loop waits");
      }
    }
    for (const std::string_view word : kThreads) {
      if (has_word(code_lines[i], word) && !may_use_threads(file.path)) {
        offend(word, "threads are made by main files, control and the sandbox only");
      }
    }
    for (const std::string_view word : kUnfinished) {
      // As a sentence begins too, but not as a title: HTTP has a reason phrase that is one.
      std::string capital(word);
      capital[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(capital[0])));
      if (has_word(lines[i], word) || has_word(lines[i], capital)) {
        offend(word, "say what is missing and why it may wait, or finish it");
      }
    }
  }
  return offences;
}

Offences check_lambdas(const File& file) {
  Offences offences;
  if (!is_source(file.path) || is_generated(file.path)) return offences;
  const std::string code = code_only(file.text);
  for (size_t arrow = code.find("->"); arrow != std::string::npos;
       arrow = code.find("->", arrow + 2)) {
    const std::string_view type = std::string_view(code).substr(arrow + 2, 40);
    const size_t task = type.find("Task<");
    if (task == std::string_view::npos ||
        type.substr(0, task).find_first_not_of(" \n:_abcdefghijklmnopqrstuvwxyz") !=
            std::string_view::npos) {
      continue;
    }
    if (!is_capturing_lambda(code, arrow)) continue;
    if (!body_from(code, arrow).contains("co_")) continue;
    offences.push_back(at(file, line_at(code, arrow),
                          "a lambda that captures is a coroutine: its captures die before it"));
  }
  return offences;
}

Offences check_machine_paths(const File& file) {
  // Split, so that this file does not offend.
  constexpr std::string_view kPath =
      "/wo"
      "rk/";
  Offences offences;
  size_t number = 0;
  for (const std::string_view line : lines_of(file.text)) {
    ++number;
    const size_t found = line.find(kPath);
    if (found == std::string_view::npos) continue;
    if (found > 0 && is_word_character(line[found - 1])) continue;
    offences.push_back(at(file, number, "a path of one machine: " + std::string(kPath)));
  }
  return offences;
}

Offences check_layout(const std::vector<File>& files) {
  Offences offences;
  std::set<std::string_view> with_sources;
  std::map<std::string_view, const File*> readmes;
  std::set<std::string_view> top_level;
  for (const File& file : files) {
    top_level.insert(first_part(file.path));
    if (is_product(file.path) && is_source(file.path)) with_sources.insert(folder_of(file.path));
    if (file.path.ends_with("/README.md")) readmes[folder_of(file.path)] = &file;
  }
  for (const std::string_view name : top_level) {
    if (kTopLevel.contains(name) || name.starts_with('.')) continue;
    offences.push_back(std::string(name) + ":1: the plan knows no such name at the top");
  }
  for (const std::string_view folder : with_sources) {
    if (readmes.contains(folder)) continue;
    offences.push_back(std::string(folder) + "/README.md:1: a folder with sources has none");
  }
  for (const auto& [folder, readme] : readmes) {
    if (!with_sources.contains(folder)) continue;
    const size_t count = lines_of(readme->text).size();
    if (count <= kReadmeLinesMax) continue;
    offences.push_back(at(*readme, kReadmeLinesMax + 1,
                          "a room's README has at most " + std::to_string(kReadmeLinesMax) +
                              " lines, this one " + std::to_string(count)));
  }
  return offences;
}

Offences check(const std::vector<File>& files) {
  Offences all = check_layout(files);
  for (const File& file : files) {
    for (const auto rule :
         {check_includes, check_size, check_banned, check_lambdas, check_machine_paths}) {
      const Offences some = rule(file);
      all.insert(all.end(), some.begin(), some.end());
    }
  }
  return all;
}

}  // namespace weft::house
