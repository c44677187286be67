#include "agent/cli/commands.h"

#include <algorithm>
#include <cstdio>

namespace weft::cli {

namespace {

// A word is taken for a slip of another if at most this many letters differ.
constexpr size_t kSlipsMax = 2;

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

void print_commands(const std::string& program, const std::vector<Command>& commands,
                    std::FILE* to) {
  std::fprintf(to, "Usage: %s COMMAND [FLAGS]\n\nCommands:\n", program.c_str());
  for (const Command& command : commands) {
    if (command.hidden) continue;
    std::fprintf(to, "  %-14s %s\n", command.name.c_str(), command.summary.c_str());
  }
  std::fprintf(to, "\n%s COMMAND --help says more about one.\n", program.c_str());
}

}  // namespace

int complain(const std::string& message, int code) {
  std::fflush(stdout);
  std::fprintf(stderr, "error: %s\n", message.c_str());
  return code;
}

std::string closest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = kSlipsMax + 1;
  if (word.size() > 64) return best;  // no slip of anything
  for (const std::string& candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

int dispatch(const std::string& program, const std::vector<Command>& commands, const Args& args) {
  if (args.empty()) {
    print_commands(program, commands, stderr);
    return kMisused;
  }
  if (args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
    print_commands(program, commands, stdout);
    return kDone;
  }
  std::vector<std::string> names;
  for (const Command& command : commands) {
    if (command.name == args[0]) return command.run(Args(args.begin() + 1, args.end()));
    if (!command.hidden) names.push_back(command.name);
  }
  const std::string meant = closest(args[0], names);
  std::string message = program + ": there is no command \"" + args[0] + "\"";
  message +=
      meant.empty() ? "; `" + program + " help` lists them" : "; did you mean \"" + meant + "\"?";
  return complain(message, kMisused);
}

}  // namespace weft::cli
