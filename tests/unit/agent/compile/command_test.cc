#include "agent/compile/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace weft::compile {
namespace {

using testing::HasSubstr;

class CompileCommand : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "weft compile.XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  int run(const std::vector<std::string>& args) {
    out_.str("");
    err_.str("");
    return compile_command(args, out_, err_);
  }

  std::string folder_;
  std::ostringstream out_;
  std::ostringstream err_;
};

constexpr const char* kPolicy =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
    "metadata: {name: p, namespace: shop}\nspec: {rules: [{from: [{source: {namespaces: "
    "[a]}}]}]}\n";
constexpr const char* kPolicyLine =
    R"({"type":"istio.security.Authorization","name":"shop/p","resource":{"name":"p",)"
    R"("namespace":"shop","scope":"NAMESPACE","rules":[{"clauses":[{"matches":[{"namespaces":)"
    R"([{"exact":"a"}]}]}]}]}})"
    "\n";

TEST_F(CompileCommand, ALonePolicyFile) {
  EXPECT_EQ(run({"-f", write("policy.yaml", kPolicy)}), 0) << err_.str();
  EXPECT_EQ(out_.str(), kPolicyLine);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CompileCommand, AFolderInYaml) {
  write("a.yaml", kPolicy);
  write("b.json", R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":
      {"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
      "spec":{"containers":[{"name":"c"}]}}}})");
  write("c.yml",
        "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: s}\n");
  write(".hidden.yaml", "not: a manifest");
  write("notes.txt", "not a manifest");
  EXPECT_EQ(run({"-f", folder_, "-o", "yaml"}), 0) << err_.str();
  EXPECT_EQ(out_.str(), R"(---
type: istio.security.Authorization
name: shop/p
resource:
  name: p
  namespace: shop
  scope: NAMESPACE
  rules:
  - clauses:
    - matches:
      - namespaces:
        - exact: a
)");
  EXPECT_EQ(err_.str(), "warning: EnvoyFilter/default/s: is accepted and not yet honoured\n");
}

TEST_F(CompileCommand, MistakesAndNothingElse) {
  write("a.yaml", kPolicy);
  write("b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {nam: x}\n");
  write("c.yaml", "apiVersion: v1\nkind: Thing\n");
  EXPECT_EQ(run({"-f", folder_}), 1);
  EXPECT_EQ(out_.str(), "");
  EXPECT_THAT(err_.str(), HasSubstr("Namespace/(no name): metadata.nam: unknown field (did you "
                                    "mean name?); expected one of name, namespace, "));
  EXPECT_THAT(err_.str(), HasSubstr("c.yaml: line 1: kind: unknown kind \"Thing\" of v1\n"));
}

TEST_F(CompileCommand, TheSameObjectTwice) {
  write("a.yaml", kPolicy);
  write("b.yaml", kPolicy);
  EXPECT_EQ(run({"-f", folder_}), 1);
  EXPECT_EQ(err_.str(), "AuthorizationPolicy/shop/p: is in " + folder_ + "/a.yaml and again in " +
                            folder_ + "/b.yaml\n");
}

TEST_F(CompileCommand, Usage) {
  EXPECT_EQ(run({}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("missing flag -f, --filename DIR|FILE"));
  EXPECT_EQ(run({"-f", folder_ + "/nothing.yaml"}), 1);
  EXPECT_EQ(err_.str(), "opening " + folder_ + "/nothing.yaml: No such file or directory\n");
  EXPECT_EQ(run({"-f", folder_}), 1);
  EXPECT_EQ(err_.str(), folder_ + ": no *.yaml, *.yml or *.json in it\n");
  EXPECT_EQ(run({"-f", write("a.yaml", kPolicy), "-o", "xml"}), 1);
  EXPECT_EQ(err_.str(), "--output: expected json or yaml, got \"xml\"\n");
  EXPECT_EQ(run({"--help"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("usage: weft compile"));
}

}  // namespace
}  // namespace weft::compile
