#include "ztunnel/role/start_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace weft::role {
namespace {

using ::testing::ElementsAre;

size_t resident_file_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) return std::strtoul(line.c_str() + 8, nullptr, 10);
  }
  return 0;
}

TEST(StartPages, OnlyWhatIsMappedOfAFileAndWasNeverWrittenTo) {
  constexpr const char* kSmaps =
      "1000-2000 r--p 00000000 fe:00 11 /usr/lib/a.so\n"
      "Rss:                   4 kB\n"
      "Anonymous:             0 kB\n"
      "VmFlags: rd mr mw me\n"
      "2000-5000 r-xp 00001000 fe:00 11 /usr/lib/a.so\n"
      "Anonymous:             0 kB\n"
      "5000-6000 r--p 00004000 fe:00 11 /usr/lib/a.so\n"  // relocated
      "Anonymous:             4 kB\n"
      "6000-7000 rw-p 00005000 fe:00 11 /usr/lib/a.so\n"
      "Anonymous:             0 kB\n"
      "7000-8000 r--p 00000000 00:00 0\n"
      "Anonymous:             0 kB\n"
      "8000-9000 r--s 00000000 00:0f 12 /memfd:shared\n"
      "Anonymous:             0 kB\n"
      "7ffc0000-7ffc1000 r-xp 00000000 00:00 0 [vdso]\n"
      "Anonymous:             0 kB\n";
  EXPECT_THAT(unwritten_ranges(kSmaps),
              ElementsAre(FileRange{0x1000, 0x2000}, FileRange{0x2000, 0x5000}));
}

TEST(StartPages, HostileTextHasNone) {
  for (const char* text : {"", "\n\n", "zz-10 r-xp 0 0 0 /a\nAnonymous: 0 kB\n", "Anonymous: 0 kB",
                           "2000-1000 r-xp 0 0 0 /a\nAnonymous: 0 kB\n", "1-2", "1-2 r-xp"}) {
    EXPECT_TRUE(unwritten_ranges(text).empty()) << text;
  }
}

TEST(StartPages, LessIsResidentAndNothingIsLost) {
  // Constants, and pages of the same file that were written to.
  char name[] = "/tmp/weft-start-XXXXXX";
  const int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  unlink(name);
  const size_t bytes = 4U << 20;
  ASSERT_EQ(ftruncate(fd, bytes), 0);
  auto* own = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  auto* clean = static_cast<char*>(mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0));
  ASSERT_NE(own, MAP_FAILED);
  ASSERT_NE(clean, MAP_FAILED);
  std::memset(own, 'x', bytes);
  ASSERT_EQ(mprotect(own, bytes, PROT_READ), 0);
  int sum = 0;
  for (size_t at = 0; at < bytes; at += 4096) sum += clean[at];
  EXPECT_EQ(sum, 0);
  const size_t before = resident_file_kb();
  const auto dropped = drop_start_pages();
  ASSERT_TRUE(dropped) << dropped.error().to_string();
  EXPECT_GE(*dropped, bytes);
  EXPECT_LE(resident_file_kb() + bytes / 1024, before);
  EXPECT_EQ(std::string_view(own, bytes).find_first_not_of('x'), std::string_view::npos);
  munmap(own, bytes);
  munmap(clean, bytes);
  close(fd);
}

}  // namespace
}  // namespace weft::role
