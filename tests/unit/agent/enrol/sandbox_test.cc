// A pod's start and end as the container runtime tells of them: the real plugin and its socket on
// one side, the enroller on the other.
#include "agent/cni/ask_agent.h"
#include "agent/cni/plugin.h"
#include "agent/enrol/netns.h"
#include "tests/unit/agent/enrol/enroller_fixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

namespace weft::enrol {
namespace {

using testing::Child;
using ::testing::HasSubstr;
using testing::eventually;
using testing::pod_change;

TEST(CniQuestion, AddressesAreThoseOfThePodsInterface) {
  const auto parsed = parse_cni_question(R"({"version":1,"command":"ADD","container":"c",
    "namespace":"shop","name":"users-0","uid":"u-1","interface":"eth0","prevResult":{
      "interfaces":[{"name":"cni0"},{"name":"veth1"},{"name":"eth0","sandbox":"/run/netns/x"},
                    {"name":"eth0"}],
      "ips":[{"address":"10.9.9.9/24","interface":0},{"address":"10.9.9.8/24","interface":3},
             {"address":"10.1.2.3/24","interface":2},{"address":"10.1.2.4/24","interface":2},
             {"address":"fd00::3/64","interface":2}]}})");
  ASSERT_TRUE(parsed) << parsed.error().to_string();
  EXPECT_EQ(parsed->addresses.to_string(), "10.1.2.3, fd00::3");
  EXPECT_EQ(parsed->container, "c");
  EXPECT_EQ(parsed->uid, "u-1");
}

TEST(CniQuestion, WrongOnesAreNamed) {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "not JSON"},
      {"{}", "version: expected 1"},
      {R"({"version":"1"})", "version: expected 1"},
      {R"({"version":2})", "another version of Weft"},
      {R"({"version":1,"command":"EAT"})", "command: expected ADD"},
      {R"({"version":1,"command":"ADD","namespace":"a"})", "namespace, name"},
      {R"({"version":1,"command":"ADD","namespace":"a","name":"b",
           "prevResult":{"ips":[{"address":"x/24"}]}})",
       "\"x/24\": expected ADDRESS/LENGTH"},
  };
  for (const auto& [text, expected] : wrong) {
    const auto parsed = parse_cni_question(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().to_string(), HasSubstr(expected));
  }
}

class SandboxTest : public testing::EnrollerTest {
 protected:
  cni::Reply call(const std::string& command, const std::string& container = "c1",
                  const std::string& netns = "", const std::string& address = "10.99.0.2",
                  const std::string& uid = "u-1") {
    return cni::run_plugin(
        {.command = command,
         .container = container,
         .netns = "/var/run/netns/" + (netns.empty() ? bed_->pod_name() : netns),
         .interface = "eth0",
         .args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=users-0;K8S_POD_UID=" + uid,
         .config = R"({"cniVersion":"1.0.0","socket":")" + socket() +
                   R"(","prevResult":{"ips":[{"address":")" + address + R"(/24"}]}})"},
        cni::ask_agent);
  }
  std::string socket() const { return bed_->folder() + "/cni.sock"; }
  // Whether a connection out of the pod comes to the listener that the agent gave to ztunnel.
  bool is_steered(const std::vector<Fd>& descriptors) {
    Child client = bed_->run(testing::kPodCgroup, bed_->pod(), [] {
      const Fd fd = testing::tcp_socket();
      return std::to_string(testing::connect_to(fd.get(), "10.96.0.7:80"));
    });
    return static_cast<bool>(testing::accept_from(descriptors.at(2).get()));
  }
};

TEST_F(SandboxTest, PodIsCapturedBeforeItHasAProcessOrAnAddress) {
  start_agent({pod_change({.address = ""})});
  agent_->becomes("u-1 waiting;");
  const cni::Reply reply = call("ADD");
  EXPECT_EQ(reply.exit_code, 0) << reply.text;
  EXPECT_EQ(agent_->states(), "u-1 waiting for ztunnel;");
  EXPECT_TRUE(is_steered(connect_ztunnel())) << "from its first connection on";
  agent_->becomes("u-1 captured;");

  // The kubelet's status comes later, and changes nothing.
  agent_->push(pod_change({}));
  EXPECT_EQ(agent_->states(), "u-1 captured;");
  EXPECT_EQ(call("CHECK").exit_code, 0);
}

TEST_F(SandboxTest, StartWaitsForTheObject) {
  start_agent({});
  auto started = std::async(std::launch::async, [this] { return call("ADD"); });
  agent_->push(pod_change({.uid = "u-0", .address = ""}));  // of the same name, before it
  agent_->push(pod_change({.address = ""}));
  const cni::Reply reply = started.get();
  EXPECT_EQ(reply.exit_code, 0) << reply.text;
  EXPECT_EQ(agent_->captured(), 1u);
}

TEST_F(SandboxTest, PodThatNobodyKnowsDoesNotStart) {
  start_agent({pod_change({.uid = "u-0", .address = ""})});
  const cni::Reply reply = call("ADD");
  EXPECT_EQ(reply.exit_code, 1);
  EXPECT_THAT(reply.text, HasSubstr("no object of pod shop/users-0"));
  EXPECT_THAT(reply.text, HasSubstr("does the node agent reach it?"));
  EXPECT_EQ(agent_->captured(), 0u);
}

TEST_F(SandboxTest, PodOutsideTheMeshStartsAtOnce) {
  start_agent({pod_change({.address = "", .labelled = false})});
  EXPECT_EQ(call("ADD").exit_code, 0);
  EXPECT_EQ(agent_->captured(), 0u);
  expect_clean_pod();
}

TEST_F(SandboxTest, PodThatCannotBeCapturedDoesNotStart) {
  start_agent({pod_change({.address = ""})});
  const cni::Reply reply = call("ADD", "c1", "", "10.99.0.77");
  EXPECT_EQ(reply.exit_code, 1);
  EXPECT_THAT(reply.text, HasSubstr("cannot be captured"));
  EXPECT_THAT(reply.text, HasSubstr("10.99.0.77"));
  EXPECT_NE(call("CHECK").exit_code, 0);
  expect_clean_pod();
}

TEST_F(SandboxTest, EndedSandboxIsLetGoOfAndTheNextOneCaptured) {
  start_agent({pod_change({.address = ""})});
  ASSERT_EQ(call("ADD").exit_code, 0);
  {
    const std::vector<Fd> descriptors = connect_ztunnel();
    EXPECT_TRUE(eventually([&] { return agent_->annotations() == "u-1=enabled;"; }));
  }
  EXPECT_EQ(call("DEL", "c0", bed_->out_name()).exit_code, 0) << "another sandbox";
  EXPECT_EQ(agent_->captured(), 1u);

  EXPECT_EQ(call("DEL").exit_code, 0);
  EXPECT_EQ(agent_->captured(), 0u);
  EXPECT_TRUE(ztunnel_->next()->request.has_del());
  ztunnel_->ack();
  start_pod();  // a process that is there still does not bring it back
  agent_->push(pod_change({}));
  agent_->becomes("u-1 waiting;");

  EXPECT_EQ(call("ADD", "c2", bed_->out_name(), "10.99.0.1").exit_code, 0);
  const auto add = ztunnel_->next();
  ASSERT_TRUE(add && add->request.has_add());
  EXPECT_TRUE(is_same_netns(add->descriptors.at(0).get(), bed_->out()));
  ztunnel_->ack();
  agent_->becomes("u-1 captured;");
  EXPECT_EQ(agent_->annotations(), "u-1=enabled;") << "it stayed in the mesh";

  // Without the end of the one before: the node was cut off power.
  EXPECT_EQ(call("ADD", "c3").exit_code, 0);
  EXPECT_EQ(agent_->captured(), 1u);
  agent_->push(testing::pod_gone("users-0"));
  EXPECT_TRUE(ztunnel_->next()->request.has_del());
  EXPECT_EQ(call("DEL", "c3").exit_code, 0) << "the object went first";
}

TEST_F(SandboxTest, QuestionsWithoutAPodsNetworkAreRefused) {
  start_agent({pod_change({.address = ""})});
  const cni::Reply own = cni::run_plugin(
      {.command = "ADD",
       .netns = "/proc/self/ns/net",
       .args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=users-0",
       .config = R"({"cniVersion":"1.0.0","socket":")" + socket() + R"(","prevResult":{}})"},
      cni::ask_agent);
  EXPECT_THAT(own.text, HasSubstr("the node's own network namespace"));
  const auto ask = [this](const std::string& text, const std::string& netns) {
    return cni::ask_agent(
               {.socket = socket(), .text = text, .netns = netns, .patience = cni::kCourtesy})
        .value_or("nothing");
  };
  const std::string add = R"({"version":1,"command":"ADD","namespace":"shop","name":"users-0"})";
  EXPECT_THAT(ask(add, ""), HasSubstr("expected one descriptor"));
  EXPECT_THAT(ask(add, "/dev/null"), HasSubstr("error"));
  EXPECT_THAT(ask("hello", ""), HasSubstr("not JSON"));
  EXPECT_THAT(ask(std::string(170'000, 'x'), ""), HasSubstr("error"));
  EXPECT_EQ(agent_->captured(), 0u);
}

TEST_F(SandboxTest, PluginAsksAnAgentThatComesBack) {
  start_agent({pod_change({.address = ""})});
  agent_.reset();
  auto started = std::async(std::launch::async, [this] { return call("ADD"); });
  start_agent({pod_change({.address = ""})});
  const cni::Reply reply = started.get();
  EXPECT_EQ(reply.exit_code, 0) << reply.text;
}

}  // namespace
}  // namespace weft::enrol
