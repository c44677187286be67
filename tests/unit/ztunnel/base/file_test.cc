#include "ztunnel/base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace weft {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    std::string pattern = ::testing::TempDir() + "/weft-file-XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~FileTest() override { fs::remove_all(folder_); }

  std::string path(const std::string& name = "f") const { return folder_ + "/" + name; }
  void put(const std::string& text) const { std::ofstream(path()) << text; }
  mode_t mode() const {
    struct stat about{};
    EXPECT_EQ(stat(path().c_str(), &about), 0);
    return about.st_mode & 07777U;
  }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), {}));
  }

  std::string folder_;
};

TEST_F(FileTest, ReadsUpToTheBoundAndNoFurther) {
  const std::string text(200'000, 'x');
  put(text);
  EXPECT_EQ(read_file(path(), text.size()), text);
  const auto longer = read_file(path(), text.size() - 1);
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, Code::kLimit);
  EXPECT_THAT(longer.error().to_string(), HasSubstr(path() + ": longer than 199999 bytes"));
}

TEST_F(FileTest, WhatIsNoFileIsRefusedAtOnce) {
  const auto missing = read_file(path(), 10);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kNotFound);
  ASSERT_EQ(mkfifo(path().c_str(), 0600), 0);
  const auto fifo = read_file(path(), 10);
  ASSERT_FALSE(fifo);
  EXPECT_EQ(fifo.error().code, Code::kInvalid);
  EXPECT_THAT(fifo.error().to_string(), HasSubstr("not a regular file"));
}

TEST_F(FileTest, ASmallFileIsTrimmedAndNotEmpty) {
  put("  token\r\n\n");
  EXPECT_EQ(read_small_file(path()), "  token");
  put(" \n");
  const auto empty = read_small_file(path());
  ASSERT_FALSE(empty);
  EXPECT_THAT(empty.error().to_string(), HasSubstr(path() + " is empty"));
}

TEST_F(FileTest, AReplacedFileHasItsBytesItsModeAndNothingBesideIt) {
  put("old");
  const mode_t before = umask(0077);
  const auto done = replace_file(path(), "new", 0644, Durable::kYes);
  umask(before);
  ASSERT_TRUE(done) << done.error().to_string();
  EXPECT_EQ(read_file(path(), 10), "new");
  EXPECT_EQ(mode(), 0644U);
  EXPECT_EQ(files(), 1U);
}

// A link beside the place is somebody's trap: it is replaced, and what it names is left alone.
TEST_F(FileTest, AReplacementFollowsNoLink) {
  std::ofstream(path("other")) << "theirs";
  fs::create_symlink(path("other"), path() + ".new");
  ASSERT_TRUE(replace_file(path(), "ours", 0600, Durable::kNo));
  EXPECT_EQ(read_file(path(), 10), "ours");
  EXPECT_EQ(read_file(path("other"), 10), "theirs");
  EXPECT_FALSE(fs::is_symlink(path()));
  fs::create_symlink(path("other"), path("link"));
  EXPECT_FALSE(write_new_file(path("link"), "ours", 0600, Durable::kNo));
  EXPECT_EQ(read_file(path("other"), 10), "theirs");
}

TEST_F(FileTest, WhatCannotBePutInPlaceLeavesNothing) {
  fs::create_directory(path());
  fs::create_directory(path() + "/inside");
  EXPECT_FALSE(replace_file(path(), "new", 0600, Durable::kNo));
  EXPECT_TRUE(fs::is_directory(path() + "/inside"));
  EXPECT_EQ(files(), 1U);
}

}  // namespace
}  // namespace weft
