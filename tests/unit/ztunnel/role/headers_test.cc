#include "ztunnel/role/headers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::role {
namespace {

using ::testing::MatchesRegex;

learn::Workload sleep_pod() {
  learn::Workload workload;
  workload.name = "sleep-7d9f";
  workload.ns = "shop";
  workload.cluster_id = "Kubernetes";
  workload.workload_name = "sleep";
  workload.workload_type = "deployment";
  workload.canonical_name = "sleep";
  workload.canonical_revision = "v1";
  return workload;
}

TEST(Headers, BaggageNamesTheSourceAsIstioDoes) {
  EXPECT_EQ(baggage_of(sleep_pod()),
            "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=sleep,"
            "service.name=sleep,service.version=v1");
}

TEST(Headers, BaggageLeavesOutWhatIsEmpty) {
  learn::Workload workload = sleep_pod();
  workload.cluster_id.clear();
  workload.canonical_revision.clear();
  workload.workload_type = "pod";
  EXPECT_EQ(baggage_of(workload), "k8s.namespace.name=shop,k8s.pod.name=sleep,service.name=sleep");
}

TEST(Headers, RequestHasTargetAndSource) {
  std::mt19937_64 random(7);
  learn::Service service;
  service.hostname = "users.shop.svc.cluster.local";
  const auto request = connect_request(sleep_pod(), {IpAddress::v4(0x0af40105), 40000},
                                       "10.244.2.7:8080", &service, random);
  EXPECT_EQ(request.authority, "10.244.2.7:8080");
  EXPECT_EQ(request.forwarded, "for=\"10.244.1.5:40000\";host=users.shop.svc.cluster.local");
  EXPECT_THAT(request.traceparent, MatchesRegex("00-[0-9a-f]{32}-[0-9a-f]{16}-00"));
}

TEST(Headers, RequestWithoutServiceHasNoHost) {
  std::mt19937_64 random(7);
  const auto request =
      connect_request(sleep_pod(), {IpAddress::v4(1), 2}, "[fd00::7]:80", nullptr, random);
  EXPECT_EQ(request.authority, "[fd00::7]:80");
  EXPECT_EQ(request.forwarded, "for=\"0.0.0.1:2\"");
}

}  // namespace
}  // namespace weft::role
