#include "agent/sandbox/images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::sandbox {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ImagesFile, FolderStandsForWhereTheFileIs) {
  const auto images = parse_images("images:\n  a/b:1: [run, '{folder}/x.py', '{folder}{folder}']\n",
                                   "/some where/images.yaml");
  ASSERT_TRUE(images) << images.error().to_string();
  EXPECT_THAT(images->at("a/b:1"),
              ElementsAre("run", "/some where/x.py", "/some where/some where"));
}

TEST(ImagesFile, PrintsWhatItReads) {
  const Images images = {{"a", {"x", "y: z", "'\"\\"}}, {"b:1", {"w"}}};
  EXPECT_EQ(parse_images(print_images(images), "/f/images.yaml"), images);
}

TEST(ImagesFile, Malformed) {
  for (const char* text : {"", "[]", "images: 1", "images: {a: b}", "images: {a: []}", "other: {}",
                           "images: {}\nmore: 1", "images: {a: [[x]]}", "images: [", "\t"}) {
    const auto images = parse_images(text, "/f/images.yaml");
    ASSERT_FALSE(images) << text;
    EXPECT_THAT(images.error().to_string(), HasSubstr("/f/images.yaml"));
  }
}

}  // namespace
}  // namespace weft::sandbox
