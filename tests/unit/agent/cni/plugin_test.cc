#include "agent/cni/plugin.h"

#include "agent/cni/json_text.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>

namespace weft::cni {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

constexpr const char* kPrevious =
    R"({"cniVersion": "1.0.0",  "ips":[{"address":"10.1.2.3/24","interface":2}], "odd": [1e3]})";

std::string config(const std::string& version = "1.0.0", const std::string& previous = kPrevious) {
  std::string text = R"({"cniVersion":")" + version +
                     R"(","name":"kn","type":"weft-cni","socket":"/run/weft/cni.sock",)"
                     R"("excludeNamespaces":["kube-system","weft-system"],"unknown":{"a":1})";
  if (!previous.empty()) text += ",\"prevResult\":" + previous;
  return text + "}";
}

Call call(const std::string& command, const std::string& ns = "shop") {
  return {.command = command,
          .container = "c1",
          .netns = "/run/netns/cni-1",
          .interface = "eth0",
          .args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=" + ns +
                  ";K8S_POD_NAME=users-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1",
          .config = config()};
}

// Plays the agent: remembers what it was asked, answers always the same.
class Agent {
 public:
  explicit Agent(Result<std::string> answer) : answer_(std::move(answer)) {}
  AskAgent ask() {
    return [this](const Question& question) {
      ++asked;
      last = question;
      return answer_;
    };
  }
  int asked = 0;
  Question last;

 private:
  Result<std::string> answer_;
};

TEST(CniPlugin, PodThatIsCapturedStartsWithTheResultUntouched) {
  for (const char* state : {"captured", "not in the mesh"}) {
    Agent agent(R"({"state":")" + std::string(state) + "\"}");
    const Reply reply = run_plugin(call("ADD"), agent.ask());
    EXPECT_EQ(reply.exit_code, 0);
    EXPECT_EQ(reply.text, std::string(kPrevious) + "\n");
    EXPECT_EQ(agent.last.socket, "/run/weft/cni.sock");
    EXPECT_EQ(agent.last.netns, "/run/netns/cni-1");
    EXPECT_TRUE(agent.last.insists);
    EXPECT_EQ(agent.last.patience, kPatience);
    EXPECT_EQ(agent.last.text,
              R"({"version":1,"command":"ADD","container":"c1","interface":"eth0",)"
              R"("namespace":"shop","name":"users-0","uid":"u-1","prevResult":)" +
                  std::string(kPrevious) + "}");
  }
}

TEST(CniPlugin, PodDoesNotStartWhereTheAgentDoesNotAnswer) {
  Agent agent(fail(Code::kUnavailable, "/run/weft/cni.sock: Connection refused"));
  const Reply reply = run_plugin(call("ADD"), agent.ask());
  EXPECT_EQ(reply.exit_code, 1);
  EXPECT_THAT(reply.text, AllOf(HasSubstr("\"code\":11,"), HasSubstr("pod shop/users-0 may not"),
                                HasSubstr("Connection refused"), HasSubstr("weft-agent pod")));
  EXPECT_TRUE(json_members(reply.text));
}

TEST(CniPlugin, TheAgentsReasonAndRemedyReachTheEvent) {
  Agent agent(std::string(R"({"error":"no \"object\"","remedy":"do this"})"));
  const Reply reply = run_plugin(call("ADD"), agent.ask());
  EXPECT_EQ(reply.exit_code, 1);
  EXPECT_EQ(reply.text, R"({"cniVersion":"1.0.0","code":100,"msg":"weft-cni: no \"object\"",)"
                        R"("details":"do this"})"
                        "\n");
  for (const char* odd : {"", "{}", "[]", R"({"state":"fine"})", R"({"state":7,"error":[]})"}) {
    Agent other{std::string(odd)};
    const Reply refused = run_plugin(call("ADD"), other.ask());
    EXPECT_EQ(refused.exit_code, 1) << odd;
    EXPECT_THAT(refused.text, HasSubstr("one version")) << odd;
  }
}

TEST(CniPlugin, ExcludedNamespaceStartsWhateverTheAgentSays) {
  for (const char* ns : {"kube-system", "weft-system"}) {
    Agent away(fail(Code::kUnavailable, "away"));
    const Reply reply = run_plugin(call("ADD", ns), away.ask());
    EXPECT_EQ(reply.exit_code, 0);
    EXPECT_EQ(reply.text, std::string(kPrevious) + "\n");
    EXPECT_FALSE(away.last.insists);
    EXPECT_EQ(away.last.patience, kCourtesy);
  }
}

TEST(CniPlugin, WhatIsNoPodIsNotAskedAbout) {
  Agent agent(fail(Code::kUnavailable, "away"));
  Call of_ctr = call("ADD");
  of_ctr.args = "";
  const Reply reply = run_plugin(of_ctr, agent.ask());
  EXPECT_EQ(reply.exit_code, 0);
  EXPECT_EQ(reply.text, std::string(kPrevious) + "\n");
  EXPECT_EQ(agent.asked, 0);
}

TEST(CniPlugin, DelNeverFailsAndTellsTheAgent) {
  Agent away(fail(Code::kUnavailable, "away"));
  Call del = call("DEL");
  del.netns = "";
  del.config = config("1.0.0", "");
  EXPECT_EQ(run_plugin(del, away.ask()).exit_code, 0);
  EXPECT_EQ(run_plugin(del, away.ask()).text, "");
  EXPECT_THAT(away.last.text, HasSubstr("\"command\":\"DEL\""));
  EXPECT_FALSE(away.last.insists);
}

TEST(CniPlugin, CheckSaysWhatTheAgentSays) {
  Agent good{std::string(R"({"state":"captured"})")};
  EXPECT_EQ(run_plugin(call("CHECK"), good.ask()).text, "");
  EXPECT_EQ(run_plugin(call("CHECK"), good.ask()).exit_code, 0);
  Agent bad{std::string(R"({"error":"not captured yet"})")};
  EXPECT_EQ(run_plugin(call("CHECK"), bad.ask()).exit_code, 1);
}

TEST(CniPlugin, VersionStatusAndGcNeedNoAgent) {
  Agent agent(fail(Code::kUnavailable, "away"));
  const Reply version =
      run_plugin({.command = "VERSION", .config = R"({"cniVersion":"1.1.0"})"}, agent.ask());
  EXPECT_EQ(version.text, R"({"cniVersion":"1.1.0","supportedVersions":)"
                          R"(["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]})"
                          "\n");
  for (const char* command : {"STATUS", "GC"}) {
    const Reply reply = run_plugin(call(command), agent.ask());
    EXPECT_EQ(reply.exit_code, 0);
    EXPECT_EQ(reply.text, "");
  }
  EXPECT_EQ(agent.asked, 0);
}

TEST(CniPlugin, WrongCallsAreRefusedByTheirPlace) {
  struct Wrong {
    const char* what;
    std::function<void(Call&)> spoil;
    const char* expected;
  };
  const std::vector<Wrong> table{
      {"no JSON", [](Call& c) { c.config = "x"; }, "\"code\":6,"},
      {"too long", [](Call& c) { c.config = std::string(kConfigBytesMax + 1, ' '); },
       "\"code\":6,\"msg\":\"weft-cni: the configuration is too long\""},
      {"old version", [](Call& c) { c.config = config("0.2.0"); }, "\"code\":1,"},
      {"no version", [](Call& c) { c.config = config(""); }, "\"code\":1,"},
      {"not chained", [](Call& c) { c.config = config("1.0.0", ""); }, "prevResult is missing"},
      {"odd result", [](Call& c) { c.config = config("1.0.0", "7"); }, "prevResult: byte 0"},
      {"odd socket", [](Call& c) { c.config = R"({"socket":7})"; }, "socket: byte 0"},
      {"no socket", [](Call& c) { c.config = R"({"cniVersion":"1.0.0","prevResult":{}})"; },
       "socket is missing"},
      {"odd namespaces", [](Call& c) { c.config = R"({"excludeNamespaces":[7]})"; },
       "excludeNamespaces: byte 0"},
      {"no netns", [](Call& c) { c.netns = ""; }, "CNI_NETNS"},
      {"half a pod", [](Call& c) { c.args = "K8S_POD_NAME=x"; }, "K8S_POD_NAMESPACE"},
      {"long args", [](Call& c) { c.args = std::string(kArgsBytesMax + 1, 'a'); }, "\"code\":4,"},
      {"command", [](Call& c) { c.command = "EAT"; }, "CNI_COMMAND"},
      {"no command", [](Call& c) { c.command = ""; }, "CNI_COMMAND"},
  };
  for (const Wrong& wrong : table) {
    Agent agent{std::string(R"({"state":"captured"})")};
    Call spoilt = call("ADD");
    wrong.spoil(spoilt);
    const Reply reply = run_plugin(spoilt, agent.ask());
    EXPECT_EQ(reply.exit_code, 1) << wrong.what;
    EXPECT_THAT(reply.text, HasSubstr(wrong.expected)) << wrong.what;
    EXPECT_THAT(reply.text, EndsWith("}\n"));
    EXPECT_TRUE(json_members(reply.text)) << reply.text;
    EXPECT_EQ(agent.asked, 0) << wrong.what;
  }
}

TEST(CniPlugin, ArgsAreReadAsTheRuntimeWritesThem) {
  const auto pod = parse_pod_name("K8S_POD_NAMESPACE=a;junk;K8S_POD_NAME=b=c;;K8S_POD_UID=");
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->ns, "a");
  EXPECT_EQ(pod->name, "b=c");
  EXPECT_EQ(pod->uid, "");
}

// The program itself, with the environment and stdin of a runtime.
TEST(CniProgram, AnswersWithoutASharedLibrary) {
  const std::string binary = WEFT_BINARY_DIR "/bin/weft-cni";
  FILE* pipe = popen(
      ("echo '{\"cniVersion\":\"1.0.0\"}' | env -i CNI_COMMAND=VERSION " + binary).c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  char text[256] = {};
  const size_t length = fread(text, 1, sizeof(text) - 1, pipe);
  EXPECT_EQ(WEXITSTATUS(pclose(pipe)), 0);
  EXPECT_THAT(std::string(text, length), HasSubstr("supportedVersions"));
#ifndef WEFT_SANITIZED
  std::ifstream file(binary, std::ios::binary);
  Elf64_Ehdr header{};
  file.read(reinterpret_cast<char*>(&header), sizeof(header));
  file.seekg(static_cast<std::streamoff>(header.e_phoff));
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    file.read(reinterpret_cast<char*>(&part), sizeof(part));
    ASSERT_TRUE(file);
    EXPECT_NE(part.p_type, PT_INTERP) << "is linked dynamically";
  }
#endif
}

}  // namespace
}  // namespace weft::cni
