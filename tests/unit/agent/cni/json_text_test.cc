#include "agent/cni/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::cni {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(JsonText, MembersAreViewsOfWhatWasWritten) {
  const std::string text = R"( {"a" : {"x":[1, -0.5e+3,null]} , "b":"\u00e9\n\"", "c":true} )";
  const auto members = json_members(text);
  ASSERT_TRUE(members) << members.error().to_string();
  ASSERT_EQ(members->size(), 3u);
  EXPECT_EQ(members->at(0).name, "a");
  EXPECT_EQ(members->at(0).value, R"({"x":[1, -0.5e+3,null]})");
  EXPECT_GE(members->at(0).value.data(), text.data()) << "no copy";
  EXPECT_EQ(*json_string(members->at(1).value), "\u00e9\n\"");
}

TEST(JsonText, ItemsAndStrings) {
  EXPECT_THAT(*json_items("[\"a\", 1 ,{}]"), ElementsAre("\"a\"", "1", "{}"));
  EXPECT_THAT(*json_items(" [ ] "), ElementsAre());
  EXPECT_EQ(*json_string(R"("\ud83d\ude00\u0041")"), "\U0001F600A");
}

TEST(JsonText, QuotedTextReadsBackAsItWas) {
  const std::string odd = std::string("a\"\\\n\t\x01\x7f") + "\u00e9" + std::string(1, '\0');
  EXPECT_EQ(*json_string(json_quoted(odd)), odd);
}

TEST(JsonText, WhatIsWrongIsNamedByItsPlace) {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "byte 0: expected '{'"},
      {"[]", "byte 0: expected '{'"},
      {"{\"a\":1}x", "byte 7: expected nothing more"},
      {"{\"a\":1,}", "expected a string"},
      {"{\"a\" 1}", "expected ':'"},
      {"{\"a\":01}", "expected '}'"},
      {"{\"a\":1.}", "expected a digit"},
      {"{\"a\":-}", "expected a value"},
      {"{\"a\":1e}", "expected a digit"},
      {"{\"a\":tru}", "expected a value"},
      {"{\"a\":\"\\x\"}", "expected an escape"},
      {"{\"a\":\"\\u12g4\"}", "hexadecimal"},
      {"{\"a\":\"\\ud83d\"}", "surrogates"},
      {"{\"a\":\"\\ud83d\\u0041\"}", "second half"},
      {"{\"a\":\"\n\"}", "no control character"},
      {"{\"a\":\"", "the end of a string"},
      {"{\"a\":1,\"a\":2}", "\"a\" once only"},
      {"{\"a\":[1}", "expected ']'"},
  };
  for (const auto& [text, expected] : wrong) {
    const auto members = json_members(text);
    ASSERT_FALSE(members) << text;
    EXPECT_THAT(members.error().to_string(), HasSubstr(expected)) << text;
  }
}

TEST(JsonText, NestingIsBounded) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_TRUE(json_members(nested(kJsonDepthMax)));
  EXPECT_THAT(json_members(nested(kJsonDepthMax + 1)).error().to_string(),
              HasSubstr("less nesting"));
  EXPECT_FALSE(json_members(nested(100'000)));
}

}  // namespace
}  // namespace weft::cni
