#include "agent/control/status.h"

#include "agent/control/options.h"
#include "ztunnel/base/log.h"

#include <gmock/gmock.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

namespace weft::control {
namespace {

using testing::HasSubstr;

TEST(ControlStatus, IsJsonWhateverThePeersSay) {
  Status status;
  status.listen = "127.0.0.1:15012";
  status.ready = true;
  status.ca_not_after = std::chrono::system_clock::from_time_t(1'800'000'000);
  status.nodes.push_back({"node-a", "ipv4:1.2.3.4:5", "7", "bad \"quote\"\n\x01", 3, 1, 2});
  status.totals = {3, 1, 4, {{"istio.workload.Address", 9}}};
  status.notices.push_back({{"EnvoyFilter", "a", "b"}, "cannot be honoured"});
  status.source_errors = 1;
  status.latest_source_errors = {"Pod/a/b: spec: expected an object"};
  google::protobuf::Struct read;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(to_json(status), &read).ok());
  const auto& fields = read.fields();
  EXPECT_EQ(fields.at("role").string_value(), "control");
  EXPECT_TRUE(fields.at("ready").bool_value());
  EXPECT_EQ(fields.at("root").struct_value().fields().at("not_after").string_value(),
            "2027-01-15T08:00:00Z");
  const auto& node = fields.at("nodes").list_value().values(0).struct_value().fields();
  EXPECT_EQ(node.at("node").string_value(), "node-a");
  EXPECT_EQ(node.at("last_nack").string_value(), "bad \"quote\"\n\x01");
  EXPECT_EQ(node.at("nacks").number_value(), 1);
  EXPECT_EQ(
      fields.at("resources").struct_value().fields().at("istio.workload.Address").number_value(),
      9);
  EXPECT_EQ(fields.at("notices").list_value().values_size(), 1);
  const auto& errors = fields.at("source_errors").struct_value().fields();
  EXPECT_EQ(errors.at("count").number_value(), 1);
  EXPECT_EQ(errors.at("latest").list_value().values_size(), 1);
}

TEST(ControlStatus, KeepsTheLatestErrorsOnly) {
  log::set_sink([](std::string_view) {});
  SourceErrors errors;
  for (size_t i = 0; i < SourceErrors::kKept + 10; ++i) {
    errors.add(Error(Code::kInvalid, std::to_string(i)));
  }
  log::set_sink(nullptr);
  EXPECT_EQ(errors.count(), SourceErrors::kKept + 10);
  EXPECT_EQ(errors.latest().size(), SourceErrors::kKept);
  EXPECT_EQ(errors.latest().front(), "10");
}

Result<Options> options_of(const std::vector<std::string>& more) {
  std::vector<std::string> args = {"--objects=o", "--state=s", "--server-name=a,b", "--token-key=k",
                                   "--admin-socket=x"};
  args.insert(args.end(), more.begin(), more.end());
  const Flags flags = TRY(Flags::parse(args, Options::known_flags()));
  return Options::from(flags);
}

TEST(ControlOptions, FillInDefaults) {
  const auto options = options_of({});
  ASSERT_TRUE(options) << options.error().to_string();
  EXPECT_EQ(options->listen.to_string(), "0.0.0.0:15012");
  EXPECT_EQ(options->server_names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(options->mesh.trust_domain, "cluster.local");
  EXPECT_EQ(options->mesh.cluster_id, "Kubernetes");
  EXPECT_EQ(options->mesh.root_namespace, "istio-system");
}

TEST(ControlOptions, MistakesNameTheFlag) {
  EXPECT_THAT(options_of({"--listen=15012"}).error().to_string(), HasSubstr("--listen: "));
  EXPECT_THAT(options_of({"--trust-domain=a/b"}).error().to_string(), HasSubstr("--trust-domain"));
  EXPECT_THAT(options_of({"--bogus=1"}).error().to_string(), HasSubstr("unknown flag --bogus"));
}

}  // namespace
}  // namespace weft::control
