// What the fields of an Address become.

#include "tests/unit/ztunnel/learn/builders.h"
#include "ztunnel/learn/state_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::learn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using namespace weft::learn::testing;

const char* const kOrders = "shop/orders.shop.svc.cluster.local";

class AddressFields : public ::testing::Test {
 protected:
  StateBuilder builder_{"Kubernetes"};
};

std::shared_ptr<const Service> service_of(StateBuilder& builder, const std::string& more) {
  DeltaResponse response = addresses();
  add_service(response, "orders", 7, more);
  EXPECT_THAT(builder.apply(response), IsEmpty()) << more;
  return builder.publish()->service_by_key(kOrders);
}

TEST_F(AddressFields, ReadsHowAServiceIsBalanced) {
  const auto plain = service_of(builder_, "ports { service_port: 80 name: 'http' }");
  EXPECT_EQ(plain->balancing.mode, Balancing::Mode::kAnywhere);
  EXPECT_EQ(plain->port_names.at(80), "http");
  EXPECT_FALSE(plain->canonical || plain->only_own_namespace || plain->balancing.client_affinity);
  const auto service = service_of(
      builder_,
      "load_balancing { routing_preference: [REGION, ZONE, ZONE, UNSPECIFIED_SCOPE, NODE] mode: "
      "FAILOVER health_policy: ALLOW_ALL } session_affinity { client_ip_timeout_s: 5 } canonical: "
      "true visibility: NAMESPACE ip_families: IPV6_ONLY external_name: 'x.org'");
  EXPECT_EQ(service->balancing.mode, Balancing::Mode::kFailover);
  EXPECT_THAT(service->balancing.scopes, ElementsAre(Scope::kRegion, Scope::kZone, Scope::kNode));
  EXPECT_TRUE(service->balancing.unready_too && service->balancing.client_affinity);
  EXPECT_TRUE(service->canonical && service->only_own_namespace);
  EXPECT_EQ(service->families, IpFamilies::kV6);
  EXPECT_EQ(service->external_name, "x.org");
}

TEST_F(AddressFields, ABalancingOfANewerControlPlaneIsRefused) {
  for (const char* more : {"load_balancing { mode: 9 }", "load_balancing { routing_preference: 9 }",
                           "addresses { address: '\\n\\0\\0\\0' length: 33 }"}) {
    DeltaResponse response = addresses();
    add_service(response, "orders", 7, more);
    EXPECT_EQ(builder_.apply(response).size(), 1U) << more;
  }
  EXPECT_EQ(builder_.publish()->service_by_key(kOrders), nullptr);
}

TEST_F(AddressFields, AVirtualAddressMayBeARange) {
  const auto service =
      service_of(builder_,
                 "addresses { address: '\\n\\5\\0\\7' length: 16 } addresses { network: 'other' "
                 "address: '\\n\\6\\0\\1' }");
  ASSERT_NE(service, nullptr);
  EXPECT_EQ(service->vip_ranges.size(), 1U);
  EXPECT_EQ(service->vips.size(), 1U) << "not the one of another network";
  const auto state = builder_.publish();
  EXPECT_EQ(state->service_by_address(IpAddress::v4(0x0a050909), "shop"), service);
  EXPECT_EQ(state->service_by_address(IpAddress::v4(0x0a060001), "shop"), nullptr);
  // What has that address itself comes before a range.
  DeltaResponse response = addresses();
  add_pod(response, "inside", 0, "addresses: '\\n\\5\\t\\t'");
  builder_.apply(response);
  EXPECT_EQ(builder_.publish()->service_by_address(IpAddress::v4(0x0a050909), "shop"), nullptr);
  DeltaResponse gone = addresses();
  gone.add_removed_resources(kOrders);
  builder_.apply(gone);
  EXPECT_TRUE(builder_.publish()->data().vips.empty());
}

TEST_F(AddressFields, ReadsWhereAWorkloadStandsAndWhatItMay) {
  DeltaResponse response = addresses();
  add_pod(
      response, "b", 2,
      "hostname: 'b.org' network: 'far' locality { region: 'eu' zone: 'w' subzone: 'r' } status: "
      "UNHEALTHY serving_while_terminating: true registry_only: true pod_hostname: 'b-0' "
      "pod_subdomain: 'peers' capacity { value: 7 }");
  add_pod(response, "c", 3, "serving_while_terminating: true");
  builder_.apply(response);
  const auto state = builder_.publish();
  const auto b = state->workload_by_uid(pod_uid("b"));
  EXPECT_EQ(b->hostname, "b.org");
  EXPECT_TRUE(b->other_network);
  EXPECT_EQ(b->locality.zone, "w");
  EXPECT_TRUE(b->serving_while_terminating && b->registry_only);
  EXPECT_EQ(b->pod_hostname + "." + b->pod_subdomain, "b-0.peers");
  EXPECT_EQ(b->capacity, 7U);
  EXPECT_FALSE(state->workload_by_uid(pod_uid("c"))->serving_while_terminating) << "it is healthy";
  StateBuilder far("Kubernetes", "far");
  far.apply(response);
  EXPECT_FALSE(far.publish()->workload_by_uid(pod_uid("b"))->other_network);
  EXPECT_TRUE(far.publish()->workload_by_uid(pod_uid("c"))->other_network);
}

}  // namespace
}  // namespace weft::learn
