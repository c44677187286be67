#include "agent/objects/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::objects {
namespace {

using testing::HasSubstr;

// A YAML text of one document as JSON, or why it is none.
std::string as_json(std::string_view yaml) {
  const YamlDocuments parsed = parse_yaml(yaml);
  if (!parsed.error.empty()) return parsed.error[0].message;
  return parsed.documents.size() == 1 ? write_json(parsed.documents[0])
                                      : std::to_string(parsed.documents.size()) + " documents";
}

TEST(Yaml, PlainScalarsMeanWhatKubectlTakesThemFor) {
  const std::pair<const char*, const char*> kCases[] = {
      {"8080", "8080"},
      {"\"8080\"", "\"8080\""},
      {"'8080'", "\"8080\""},
      {"!!str 8080", "\"8080\""},
      {"-1", "-1"},
      {"+5", "5"},
      {"0x1F", "31"},
      {"0o17", "15"},
      {"017", "15"},
      {"0b101", "5"},
      {"1_000", "1000"},
      {"08", "8"},
      {"1.5", "1.5"},
      {".5", "0.5"},
      {"1e3", "1000"},
      {"9223372036854775807", "9223372036854775807"},
      {"18446744073709551615", "1.8446744073709552e+19"},
      {".inf", "\".inf\""},
      {"nan", "\"nan\""},
      {"true", "true"},
      {"Yes", "true"},
      {"on", "true"},
      {"n", "false"},
      {"OFF", "false"},
      {"\"yes\"", "\"yes\""},
      {"yEs", "\"yEs\""},
      {"null", "null"},
      {"~", "null"},
      {"", "null"},
      {"\"\"", "\"\""},
      {"1.2.3.4", "\"1.2.3.4\""},
      {"10.0.0.0/8", "\"10.0.0.0/8\""},
      {"3m", "\"3m\""},
      {"100Mi", "\"100Mi\""},
      {"2026-01-31T12:00:00Z", "\"2026-01-31T12:00:00Z\""},
      {"0xZZ", "\"0xZZ\""},
      {"--1", "\"--1\""},
      {"1e999", "\"1e999\""},
      {"\"a\\u00e9\\n\"", "\"a\xc3\xa9\\n\""},
  };
  for (const auto& [yaml, json] : kCases) {
    EXPECT_EQ(as_json(std::string("v: ") + yaml), std::string("{\"v\":") + json + "}") << yaml;
  }
}

TEST(Yaml, KeysAreText) {
  EXPECT_EQ(as_json("{80: a, yes: b, 1.5: c, \"\": d, null: e}"),
            R"({"80":"a","yes":"b","1.5":"c","":"d","null":"e"})");
}

TEST(Yaml, AliasesAndMergeKeys) {
  EXPECT_EQ(as_json("a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\n"),
            R"({"a":{"p":1,"q":2},"b":{"p":1,"q":2},"c":{"q":3,"p":1}})");
  EXPECT_EQ(as_json("a: &x {p: 1}\nb: &y {p: 2, r: 3}\nc: {<<: [*x, *y]}\n"),
            R"({"a":{"p":1},"b":{"p":2,"r":3},"c":{"p":1,"r":3}})");
  EXPECT_EQ(as_json("a: {\"<<\": 1}\n"), R"({"a":{"<<":1}})");
  EXPECT_EQ(as_json("a: {<<: 1}\n"), "line 1: not YAML: << takes a map or a list of maps");
  EXPECT_THAT(as_json("a: &x [*x]\n"), HasSubstr("an alias stands inside its own anchor"));
}

TEST(Yaml, Documents) {
  EXPECT_EQ(as_json("---\n---\na: 1\n...\n---\n# only a comment\n"), R"({"a":1})");
  EXPECT_EQ(as_json("a: 1\n---\nb: 2\n"), "2 documents");
  const YamlDocuments parsed = parse_yaml("a: 1\n---\nb: [\n---\nc: 3\n");
  ASSERT_EQ(parsed.documents.size(), 1u);  // what came before the mistake
  EXPECT_EQ(write_json(parsed.documents[0]), R"({"a":1})");
  ASSERT_EQ(parsed.error.size(), 1u);
}

TEST(Yaml, MistakesNameTheLine) {
  EXPECT_THAT(as_json("a: 1\nb: [1, 2\nc: 3\n"), HasSubstr("not YAML: "));
  EXPECT_THAT(as_json("a: 1\nb: !weird x\n"),
              HasSubstr("line 2: not YAML: the tag !weird is not one that manifests have"));
  EXPECT_THAT(as_json("a: *nobody\n"), HasSubstr("line 1: not YAML: "));
  EXPECT_THAT(as_json("? [a]\n: b\n"), HasSubstr("a key must be a plain word or a string"));
  EXPECT_EQ(as_json("a: \xff\n"), "not text in UTF-8");
  EXPECT_EQ(as_json(std::string_view("a: \0b\n", 7)), "not text in UTF-8");
}

TEST(Yaml, BoundsHold) {
  std::string deep;
  for (size_t i = 0; i <= kDepthMax; ++i) deep = "[" + deep + "]";
  EXPECT_THAT(as_json(deep), HasSubstr("nested more than 64 deep"));

  // Every line doubles what the last one stood for.
  std::string doubling = "a0: &a0 [x, x]\n";
  for (int i = 1; i < 40; ++i) {
    const std::string last = std::to_string(i - 1);
    doubling += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + last + ", *a" +
                last + "]\n";
  }
  EXPECT_THAT(as_json(doubling), HasSubstr("more than 400000 values"));

  // Every line is deeper by one than what it refers to, and shallow as written.
  std::string deepening = "a0: &a0 [x]\n";
  for (int i = 1; i < 100; ++i) {
    deepening += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" +
                 std::to_string(i - 1) + "]\n";
  }
  EXPECT_THAT(as_json(deepening), HasSubstr("nested more than 64 deep"));

  EXPECT_THAT(as_json(std::string(kTextBytesMax + 1, ' ')), HasSubstr("longer than"));
}

TEST(Json, SameTreeAsYaml) {
  const char* text = R"({"a":[1,-2,1.5,true,false,null,"x\n\u00e9\ud83d\ude00"],"b":{},"c":[]})";
  const auto tree = parse_json(text);
  ASSERT_TRUE(tree) << tree.error().to_string();
  EXPECT_EQ(write_json(*tree),
            "{\"a\":[1,-2,1.5,true,false,null,\"x\\n\xc3\xa9\xf0\x9f\x98\x80\"],"
            "\"b\":{},\"c\":[]}");
}

TEST(Json, DuplicatesAreKeptForTheReaderToReport) {
  const auto tree = parse_json(R"({"a":1,"a":2})");
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->members.size(), 2u);
}

TEST(Json, MistakesAndBounds) {
  for (const char* text : {"", "{", "{} {}", "{\"a\":1,}", "nul", "\"\xff\"", "[1 2]"}) {
    EXPECT_FALSE(parse_json(text)) << text;
  }
  EXPECT_FALSE(parse_json(std::string(kDepthMax + 2, '[') + std::string(kDepthMax + 2, ']')));
  std::string many = "[0";
  for (size_t i = 0; i < kTreeNodesMax; ++i) many += ",0";
  const auto refused = parse_json(many + "]");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kLimit);
}

TEST(YamlWriter, WhatIsWrittenReadsBackTheSame) {
  const char* text = R"({"plain":"web-1","looks":["8080","yes","null","","-","1.5","0x1f","~",
      "a: b","a #b","- x","*x","&x","!x","{x}","[x]","@x","`x`","%x","'x'","\"x\"","x:"," x","x ",
      "2026-01-31","multi\nline","tab\t","\u0001","\u007f","<<","=","."],"nested":[[1,[2]],[],{},
      {"a":{"b":[{"c":1},{"d":[]}]}}],"key with: colon":true,"8":null,"<<":1,"float":1.25,
      "big":9007199254740993,"empty":{}})";
  const auto tree = parse_json(text);
  ASSERT_TRUE(tree) << tree.error().to_string();
  const std::string yaml = write_yaml(*tree);
  EXPECT_EQ(as_json(yaml), write_json(*tree)) << yaml;
}

TEST(YamlWriter, LooksLikeKubectls) {
  const auto tree = parse_json(
      R"({"kind":"Pod","metadata":{"name":"a","labels":{"app.kubernetes.io/name":"x"}},
          "spec":{"containers":[{"name":"c","args":["-v","8080"]}],"empty":[]}})");
  ASSERT_TRUE(tree);
  EXPECT_EQ(write_yaml(*tree), R"(kind: Pod
metadata:
  name: a
  labels:
    app.kubernetes.io/name: x
spec:
  containers:
  - name: c
    args:
    - "-v"
    - "8080"
  empty: []
)");
}

}  // namespace
}  // namespace weft::objects
