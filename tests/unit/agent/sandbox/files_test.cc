#include "agent/sandbox/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>

namespace weft::sandbox {
namespace {

class Files : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/weft-files-XXXXXX";
    folder_ = ::mkdtemp(pattern);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(Files, WritesWholeFilesWithTheirMode) {
  const std::string path = folder_ + "/a file";
  ASSERT_TRUE(write_file_atomically(path, "one", 0600));
  ASSERT_TRUE(write_file_atomically(path, "two", 0600));
  EXPECT_EQ(read_file(path), "two");
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  // Nothing is left beside it.
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(Files, AFileThatIsNotThere) {
  EXPECT_EQ(read_file(folder_ + "/none").error().code, Code::kNotFound);
  EXPECT_FALSE(write_file_atomically(folder_ + "/no/folder", "x"));
  EXPECT_TRUE(remove_tree(folder_ + "/none"));
}

TEST_F(Files, TheLastLines) {
  const std::string path = folder_ + "/log";
  ASSERT_TRUE(write_file_atomically(path, "one\ntwo\nthree\n"));
  EXPECT_EQ(tail_of(path, 1), "three");
  EXPECT_EQ(tail_of(path, 2), "two\nthree");
  EXPECT_EQ(tail_of(path, 9), "one\ntwo\nthree");
  ASSERT_TRUE(write_file_atomically(path, "\nx"));
  EXPECT_EQ(tail_of(path, 1), "x");
  EXPECT_EQ(tail_of(folder_ + "/none", 1), "");
}

}  // namespace
}  // namespace weft::sandbox
