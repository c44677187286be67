#include "ztunnel/dns/resolv_conf.h"

#include <algorithm>
#include <charconv>
#include <fstream>

namespace weft::dns {
namespace {

// Far above what anybody writes; a file that grows without end is not ours to read.
constexpr size_t kFileBytesMax = 64 * 1024;

std::string_view next_word(std::string_view& line) {
  constexpr std::string_view kBlank = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(kBlank), line.size()));
  const std::string_view word = line.substr(0, line.find_first_of(kBlank));
  line.remove_prefix(word.size());
  return word;
}

void read_option(std::string_view option, ResolvConf& conf) {
  const size_t colon = option.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view number = option.substr(colon + 1);
  int value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size()) return;
  const std::string_view name = option.substr(0, colon);
  if (name == "timeout") conf.timeout = std::chrono::seconds(std::clamp(value, 1, 30));
  if (name == "attempts") conf.attempts = std::clamp(value, 1, 5);
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
  ResolvConf conf;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view keyword = next_word(line);
    if (keyword == "nameserver" && conf.servers.size() < ResolvConf::kServersMax) {
      if (const auto server = IpAddress::parse(next_word(line))) conf.servers.push_back(*server);
    }
    if (keyword != "options") continue;
    for (auto word = next_word(line); !word.empty(); word = next_word(line))
      read_option(word, conf);
  }
  if (conf.servers.empty()) conf.servers.push_back(IpAddress::v4(INADDR_LOOPBACK));
  return conf;
}

ResolvConf read_resolv_conf(const std::string& path) {
  std::ifstream file(path);
  std::string text(kFileBytesMax, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  return parse_resolv_conf(text);
}

}  // namespace weft::dns
