// The real weft-agent, as a process, with gRPC clients over TLS.
#include "agent/identity/token.h"
#include "proto/ca.grpc.pb.h"
#include "tests/unit/agent/control/control_process.h"
#include "tests/unit/agent/identity/csr_maker.h"
#include "tests/unit/agent/identity/temp_folder.h"
#include "tests/unit/agent/xds/ads_client.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <sstream>

namespace weft::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kAlice = "spiffe://cluster.local/ns/shop/sa/alice";
const std::string kBob = "spiffe://cluster.local/ns/shop/sa/bob";
const std::string kAddress = "istio.workload.Address";
const std::string kAuthorization = "istio.security.Authorization";

std::string pod(const std::string& name, const std::string& node, const std::string& ip) {
  return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name +
         "\n  namespace: shop\n  uid: uid-" + name + "\nspec:\n  nodeName: " + node +
         "\n  serviceAccountName: " + name +
         "\n  containers:\n  - name: app\n    image: app\nstatus:\n  phase: Running\n  podIP: " +
         ip + "\n  podIPs:\n  - ip: " + ip + "\n";
}

const char* const kNamespace =
    "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n"
    "  labels:\n    istio.io/dataplane-mode: ambient\n";
const char* const kPolicy =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
    "metadata:\n  name: only-bob\n  namespace: shop\n"
    "spec:\n  rules:\n  - from:\n    - source:\n"
    "        principals: [cluster.local/ns/shop/sa/bob]\n";

// A folder with alice on node-a and bob on node-b, keys, and a control to be started on them.
class ControlRole : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_.file("objects"));
    folder_.write("objects/shop.yaml", kNamespace);
    folder_.write("objects/alice.yaml", pod("alice", "node-a", "10.0.1.1"));
    folder_.write("objects/bob.yaml", pod("bob", "node-b", "10.0.2.1"));
    signer_ = *identity::TokenSigner::create_key(folder_.file("key.pem"), folder_.file("pub.pem"));
  }

  std::vector<std::string> args(const std::string& listen = "127.0.0.1:0") const {
    return {"control",
            "--objects=" + folder_.file("objects"),
            "--state=" + folder_.file("state"),
            "--listen=" + listen,
            "--server-name=control.weft",
            "--token-key=" + folder_.file("pub.pem"),
            "--admin-socket=" + admin()};
  }
  std::string admin() const { return folder_.file("admin.sock"); }

  google::protobuf::Struct status() const {
    google::protobuf::Struct read;
    EXPECT_TRUE(
        google::protobuf::util::JsonStringToMessage(http_get(admin(), "/status"), &read).ok());
    return read;
  }
  std::string address() const { return status().fields().at("listen").string_value(); }
  std::shared_ptr<grpc::Channel> channel() const {
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = folder_.read("state/root-cert.pem");
    grpc::ChannelArguments arguments;
    arguments.SetSslTargetNameOverride("control.weft");
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address(), grpc::SslCredentials(options), arguments);
  }
  std::string bearer(const std::string& node,
                     std::chrono::seconds lifetime = std::chrono::hours(1)) const {
    const identity::Caller caller{node, "system:serviceaccount:weft-system:ztunnel", {}, true};
    return "Bearer " + *signer_->sign(caller, lifetime);
  }
  grpc::Status ask(const std::string& node, const std::string& identity) const {
    const auto stub = istio::v1::auth::IstioCertificateService::NewStub(channel());
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + xds::AdsClient::kPatience);
    context.AddMetadata("authorization", bearer(node));
    istio::v1::auth::IstioCertificateRequest request;
    request.set_csr(identity::good_csr(identity));
    request.set_validity_duration(3600);
    (*request.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(
        identity);
    istio::v1::auth::IstioCertificateResponse response;
    const grpc::Status status = stub->CreateCertificate(&context, request, &response);
    if (status.ok()) {
      EXPECT_EQ(response.cert_chain(response.cert_chain_size() - 1),
                folder_.read("state/root-cert.pem"));
    }
    return status;
  }
  // Runs one that is not to come up; the one line that it says beside its log.
  static std::string complaint(const std::vector<std::string>& args) {
    ControlProcess control(args);
    EXPECT_EQ(control.join(), 1);
    std::istringstream lines(control.output());
    std::string said;
    for (std::string line; std::getline(lines, line);) {
      if (line.find("\tinfo\t") != std::string::npos) continue;
      EXPECT_EQ(said, "") << control.output();
      said = line;
    }
    EXPECT_THAT(said, testing::StartsWith("weft-agent control: "));
    return said;
  }

  TempFolder folder_;
  std::unique_ptr<identity::TokenSigner> signer_;
};

TEST_F(ControlRole, ServesNodesAndNoMoreThanTheirs) {
  ControlProcess control(args());
  ASSERT_TRUE(control.wait_for("ready")) << control.output();
  EXPECT_TRUE(ask("node-a", kAlice).ok());
  EXPECT_TRUE(ask("node-b", kBob).ok());
  const auto refused = ask("node-a", kBob);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(refused.error_message(), "node node-a does not run a pod with identity " + kBob);

  xds::AdsClient client(channel(), bearer("node-a"));
  client.subscribe(kAuthorization);
  EXPECT_EQ(client.accept(), "Authorization:");
  client.subscribe(kAddress);
  EXPECT_THAT(client.accept(), AllOf(HasSubstr("/shop/alice@"), HasSubstr("/shop/bob@")));

  const auto fields = status().fields();
  EXPECT_TRUE(fields.at("ready").bool_value());
  EXPECT_EQ(fields.at("certificates").struct_value().fields().at("issued").number_value(), 2);
  EXPECT_EQ(fields.at("certificates").struct_value().fields().at("refused").number_value(), 1);
  ASSERT_EQ(fields.at("nodes").list_value().values_size(), 1);
  const auto& node = fields.at("nodes").list_value().values(0).struct_value().fields();
  EXPECT_EQ(node.at("node").string_value(), "node-a");
  EXPECT_TRUE(http_get(admin(), "/other").empty());

  control.send(SIGTERM);
  EXPECT_EQ(control.join(), 0) << control.output();
  EXPECT_FALSE(client.finish().ok());
}

TEST_F(ControlRole, ChangesOfObjectsArriveAsDeltas) {
  ControlProcess control(args());
  ASSERT_TRUE(control.wait_for("ready")) << control.output();
  xds::AdsClient client(channel(), bearer("node-a"));
  client.subscribe(kAuthorization);
  EXPECT_EQ(client.accept(), "Authorization:");
  client.subscribe(kAddress);
  EXPECT_THAT(client.accept(), HasSubstr("/shop/alice@"));

  folder_.write("objects/policy.yaml", kPolicy);
  EXPECT_THAT(client.accept(), HasSubstr("Authorization: +shop/only-bob@"));
  folder_.write("objects/carol.yaml", pod("carol", "node-a", "10.0.1.2"));
  EXPECT_THAT(client.accept(), AllOf(HasSubstr("Address: +"), HasSubstr("/shop/carol@")));
  std::filesystem::remove(folder_.file("objects/carol.yaml"));
  EXPECT_THAT(client.accept(), AllOf(HasSubstr("Address: -"), HasSubstr("/shop/carol")));
  EXPECT_EQ(ask("node-a", "spiffe://cluster.local/ns/shop/sa/carol").error_code(),
            grpc::StatusCode::PERMISSION_DENIED);

  // A mistake is named, counted, and changes nothing.
  folder_.write("objects/policy.yaml", std::string(kPolicy) + "  nonsense: true\n");
  ASSERT_TRUE(control.wait_for("nonsense")) << control.output();
  const auto errors = status().fields().at("source_errors").struct_value().fields();
  EXPECT_GE(errors.at("count").number_value(), 1);
  std::filesystem::remove(folder_.file("objects/policy.yaml"));
  EXPECT_EQ(client.accept(), "Authorization: -shop/only-bob");
}

TEST_F(ControlRole, AStreamEndsWhenItsTokenDoes) {
  ControlProcess control(args());
  ASSERT_TRUE(control.wait_for("ready")) << control.output();
  xds::AdsClient brief(channel(), bearer("node-a", std::chrono::seconds(2)));
  brief.subscribe(kAuthorization);
  EXPECT_EQ(brief.accept(), "Authorization:");
  EXPECT_EQ(brief.finish().error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(ControlRole, TheRootSurvivesKillNine) {
  std::string root;
  {
    ControlProcess control(args());
    ASSERT_TRUE(control.wait_for("ready")) << control.output();
    EXPECT_TRUE(ask("node-a", kAlice).ok());
    root = folder_.read("state/root-cert.pem");
    control.send(SIGKILL);
    EXPECT_EQ(control.join(), -SIGKILL);
  }
  // The admin socket's file is still there, and nobody behind it.
  ControlProcess control(args());
  ASSERT_TRUE(control.wait_for("ready")) << control.output();
  EXPECT_EQ(folder_.read("state/root-cert.pem"), root);
  EXPECT_TRUE(ask("node-a", kAlice).ok());
}

TEST_F(ControlRole, SaysInOneLineWhyItDoesNotStart) {
  EXPECT_THAT(complaint({"control"}), HasSubstr("missing flag --state DIR"));
  EXPECT_THAT(complaint({"control", "--bogus"}),
              AllOf(HasSubstr("unknown flag --bogus"), HasSubstr("--admin-socket PATH")));
  auto no_objects = args();
  no_objects[1] = "--objects=" + folder_.file("nowhere");
  EXPECT_THAT(complaint(no_objects), AllOf(HasSubstr("nowhere"), HasSubstr("No such file")));
  auto no_key = args();
  no_key[5] = "--token-key=" + folder_.file("nokey.pem");
  EXPECT_THAT(complaint(no_key), AllOf(HasSubstr("nokey.pem"), HasSubstr("No such file")));
  auto no_state = args();
  no_state[2] = "--state=" + folder_.file("pub.pem");
  EXPECT_THAT(complaint(no_state), HasSubstr("pub.pem: Not a directory"));
  auto no_ca = args();
  no_ca.push_back("--ca-certs=" + folder_.file("objects"));
  EXPECT_THAT(complaint(no_ca), AllOf(HasSubstr("--ca-certs: "), HasSubstr("ca-key.pem: No such")));

  ControlProcess control(args());
  ASSERT_TRUE(control.wait_for("ready")) << control.output();
  auto taken = args(address());
  taken[6] = "--admin-socket=" + folder_.file("other.sock");
  EXPECT_THAT(complaint(taken),
              HasSubstr("listening on " + address() + ": Address already in use: is another"));
  std::filesystem::permissions(folder_.file("state/root-key.pem"), std::filesystem::perms(0644));
  EXPECT_THAT(complaint(args()), HasSubstr("root-key.pem has mode 0644"));
}

TEST(AgentBinary, NamesItsRoles) {
  ControlProcess agent({"nonsense"});
  EXPECT_EQ(agent.join(), 1);
  EXPECT_THAT(agent.output(), HasSubstr("usage: weft-agent ask|control|node"));
}

}  // namespace
}  // namespace weft::control
