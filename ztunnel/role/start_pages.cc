#include "ztunnel/role/start_pages.h"

#include "ztunnel/base/fd.h"
#include "ztunnel/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string>

namespace weft::role {
namespace {

constexpr size_t kSmapsBytesMax = 16U << 20;  // of a process with ten thousand mappings

std::string_view take_until(std::string_view& text, char end) {
  const size_t at = text.find(end);
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + 1);
  return taken;
}

std::optional<size_t> parse(std::string_view digits, int base) {
  size_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// "begin-end rwxp offset device inode path"; nothing for a line of another kind, an empty range for
// a mapping that is shared, may be written to or has no file.
std::optional<FileRange> parse_head(std::string_view line) {
  std::string_view addresses = take_until(line, ' ');
  const auto begin = parse(take_until(addresses, '-'), 16);
  const auto end = parse(addresses, 16);
  const std::string_view flags = take_until(line, ' ');
  if (!begin || !end || flags.size() != 4) return std::nullopt;
  const bool is_private_file = line.find('/') != std::string_view::npos && flags[3] == 'p';
  if (flags[0] != 'r' || flags[1] == 'w' || !is_private_file) return FileRange{};
  return FileRange{*begin, *end};
}

}  // namespace

std::vector<FileRange> unwritten_ranges(std::string_view smaps) {
  constexpr std::string_view kOwnPages = "Anonymous:";
  std::vector<FileRange> ranges;
  FileRange current;
  while (!smaps.empty()) {
    std::string_view line = take_until(smaps, '\n');
    if (const auto head = parse_head(line)) {
      current = *head;
    } else if (line.starts_with(kOwnPages) && current.begin < current.end) {
      line.remove_prefix(kOwnPages.size());
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      if (line == "0 kB") ranges.push_back(current);
      current = {};
    }
  }
  return ranges;
}

Result<size_t> drop_start_pages() {
  const std::string path = "/proc/self/smaps";
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(errno, "opening " + path);
  const std::string smaps = TRY(read_all(file, path, kSmapsBytesMax));
  size_t bytes = 0;
  for (const FileRange& range : unwritten_ranges(smaps)) {
    // Private pages that nobody has written to: nothing is lost.
    if (::madvise(reinterpret_cast<void*>(range.begin), range.end - range.begin, MADV_DONTNEED) ==
        0) {
      bytes += range.end - range.begin;
    }
  }
  return bytes;
}

}  // namespace weft::role
