#include "agent/control/metrics.h"

#include "agent/control/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::control {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(Metrics, SayWhatTheStatusHolds) {
  Status status;
  status.ready = true;
  status.nodes.resize(3);
  status.nodes[1].queued = 7;
  status.certificates_issued = 5;
  status.totals.resources["istio.workload.Address"] = 11;
  PushTimes pushes;
  pushes.add(std::chrono::microseconds(700));
  pushes.add(std::chrono::seconds(2));
  EXPECT_THAT(to_prometheus(status, pushes),
              AllOf(HasSubstr("weft_control_ready 1\n"), HasSubstr("pilot_xds 3\n"),
                    HasSubstr("weft_control_queued_max 7\n"),
                    HasSubstr("weft_control_resources{type=\"istio.workload.Address\"} 11\n"),
                    HasSubstr("citadel_server_success_cert_issuance_count 5\n"),
                    HasSubstr("weft_control_push_seconds_bucket{le=\"0.0005\"} 0\n"),
                    HasSubstr("weft_control_push_seconds_bucket{le=\"0.001\"} 1\n"),
                    HasSubstr("weft_control_push_seconds_bucket{le=\"+Inf\"} 2\n"),
                    HasSubstr("weft_control_push_seconds_count 2\n"),
                    Not(HasSubstr("weft_control_leader"))));
  status.cluster.emplace();
  status.cluster->leads = true;
  status.cluster->api.refused = 4;
  EXPECT_THAT(to_prometheus(status, pushes),
              AllOf(HasSubstr("weft_control_leader 1\n"),
                    HasSubstr("weft_control_api_requests_total{outcome=\"refused\"} 4\n")));
}

Result<Options> parse(std::vector<std::string> args, const std::string& pod = {}) {
  for (const char* more : {"--state=/s", "--server-name=n", "--admin-socket=/a"}) {
    args.emplace_back(more);
  }
  return Options::from(*Flags::parse(args, Options::known_flags()),
                       [&pod](const char*) { return pod; });
}

TEST(Options, OnAClusterKnowWhatAPodKnows) {
  const auto options = parse({"--in-cluster", "--revision=canary"}, "weft-x");
  ASSERT_TRUE(options) << options.error().to_string();
  EXPECT_EQ(options->ns, "weft-x");
  EXPECT_EQ(options->replica, "weft-x");
  EXPECT_EQ(options->trusted_node_accounts, std::vector<std::string>{"weft-x/weft-ztunnel"});
  EXPECT_EQ(options->mesh.config_key().to_string(), "ConfigMap/weft-x/istio-canary");
  EXPECT_EQ(options->probes->to_string(), "0.0.0.0:8080");
  EXPECT_EQ(options->metrics->to_string(), "0.0.0.0:15014");
}

TEST(Options, NameTheFlagThatIsWrong) {
  const auto message = [](const std::vector<std::string>& args, const std::string& pod = {}) {
    const auto options = parse(args, pod);
    return options ? std::string("good") : options.error().to_string();
  };
  EXPECT_THAT(message({"--in-cluster"}), HasSubstr("--namespace"));
  EXPECT_THAT(message({"--in-cluster", "--namespace=a"}), HasSubstr("--replica"));
  EXPECT_THAT(message({"--in-cluster", "--token-key=f"}, "a"), HasSubstr("--token-key"));
  EXPECT_THAT(message({"--objects=o"}), HasSubstr("--token-key"));
  for (const char* account : {"a", "/a", "a/", "a/b/c"}) {
    EXPECT_THAT(message({"--in-cluster", std::string("--trusted-node-accounts=") + account}, "a"),
                HasSubstr("expected NAMESPACE/NAME"));
  }
  EXPECT_THAT(message({"--in-cluster", "--probes=x"}, "a"), HasSubstr("--probes"));
  const auto folder = parse({"--objects=o", "--token-key=f"});
  ASSERT_TRUE(folder);
  EXPECT_FALSE(folder->probes);
}

}  // namespace
}  // namespace weft::control
