#include "agent/source/kube/watch_lines.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft::source::kube {
namespace {

// Everything that comes out when `bytes` is fed `step` at a time.
std::vector<std::string> lines_of(std::string_view bytes, size_t step, size_t line_max = 100) {
  WatchLines lines(line_max);
  std::vector<std::string> found;
  while (!bytes.empty()) {
    lines.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    while (true) {
      const auto line = lines.next();
      if (!line) {
        found.push_back("error: " + line.error().message);
        return found;
      }
      if (!*line) break;
      found.emplace_back(**line);
    }
  }
  if (lines.is_cut()) found.emplace_back("cut");
  return found;
}

TEST(WatchLines, AreTheSameHoweverTheyCome) {
  const std::string bytes = "{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":3}\n{\"half";
  const std::vector<std::string> expected{"{\"a\":1}", "{\"b\":2}\r", "{\"c\":3}", "cut"};
  for (size_t step = 1; step <= bytes.size(); ++step) EXPECT_EQ(lines_of(bytes, step), expected);
}

TEST(WatchLines, RefuseALineBeyondTheirBoundAtOnce) {
  const std::string endless(1000, 'x');
  for (const size_t step : {1U, 60U, 1000U}) {
    const auto found = lines_of(endless, step);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_TRUE(found[0].starts_with("error: the API server sent a watch event of more than 100"));
  }
  EXPECT_EQ(lines_of(std::string(100, 'x') + "\n", 7).size(), 1U);
}

}  // namespace
}  // namespace weft::source::kube
