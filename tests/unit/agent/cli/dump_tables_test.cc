// Tables of a dump as Istio's ztunnel writes it (maps or lists), and as ours does.

#include "agent/cli/dump_tables.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

namespace weft::cli {
namespace {

google::protobuf::Value dump(const std::string& json) {
  google::protobuf::Value value;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &value).ok()) << json;
  return value;
}

constexpr const char* kNow = "2026-06-01T00:00:00Z";

TEST(DumpTables, Workloads) {
  const std::string web =
      R"({"name":"web","namespace":"shop","workloadIps":["10.0.0.1"],"node":"node-1",)"
      R"("protocol":"HBONE"})";
  const std::string api =
      R"({"name":"api","namespace":"shop","workloadIps":["10.0.0.2","2001:db8::2"],)"
      R"("protocol":"TCP",)"
      R"("waypoint":{"destination":"default/wp.shop"}})";
  const std::string listed = workloads_table(dump(R"({"workloads":[)" + web + "," + api + "]}"));
  const std::string mapped =
      workloads_table(dump(R"({"workloads":{"/10.0.0.1":)" + web + R"(,"x":)" + api + "}}"));
  EXPECT_EQ(listed, mapped);
  EXPECT_EQ(listed, aligned({{"NAMESPACE", "POD NAME", "ADDRESS", "NODE", "WAYPOINT", "PROTOCOL"},
                             {"shop", "api", "10.0.0.2,2001:db8::2", "-", "default/wp.shop", "TCP"},
                             {"shop", "web", "10.0.0.1", "node-1", "None", "HBONE"}}));
}

TEST(DumpTables, ServicesCountHealthyEndpoints) {
  const auto value = dump(R"({
    "workloads": [{"uid": "u1", "status": "Healthy"}, {"uid": "u2", "status": "Unhealthy"}],
    "services": [
      {"name": "web", "namespace": "shop", "vips": ["/10.96.0.1", "net/10.96.0.2"],
       "endpoints": {"a": {"workloadUid": "u1"}, "b": {"workloadUid": "u2"},
                     "c": {"workloadUid": "gone"}}},
      {"name": "headless", "namespace": "shop", "vips": [], "endpoints": {
        "a": {"workloadUid": "u2", "status": "Healthy"}}}]})");
  EXPECT_EQ(services_table(value),
            aligned({{"NAMESPACE", "SERVICE NAME", "SERVICE VIP", "WAYPOINT", "ENDPOINTS"},
                     {"shop", "headless", "-", "None", "1/1"},
                     {"shop", "web", "10.96.0.1,net/10.96.0.2", "None", "1/3"}}));
}

TEST(DumpTables, Policies) {
  const auto value = dump(R"({"policies": [
    {"name": "b", "namespace": "shop", "action": "Deny", "scope": "Namespace", "dryRun": true},
    {"name": "a", "namespace": "shop", "action": "Allow", "scope": "WorkloadSelector"}]})");
  EXPECT_EQ(policies_table(value), aligned({{"NAMESPACE", "POLICY NAME", "ACTION", "SCOPE"},
                                            {"shop", "a", "Allow", "WorkloadSelector"},
                                            {"shop", "b", "Deny (dry run)", "Namespace"}}));
}

TEST(DumpTables, Certificates) {
  const auto value = dump(R"({"certificates": [
    {"identity": "spiffe://td/ns/shop/sa/a", "state": "Available",
     "certChain": [
       {"serialNumber": "1", "validFrom": "2026-05-31T00:00:00Z",
        "expirationTime": "2026-06-02T00:00:00Z"},
       {"serialNumber": "2", "validFrom": "2020-01-01T00:00:00Z",
        "expirationTime": "2026-05-31T23:59:59Z"}],
     "rootCerts": [
       {"serialNumber": "3", "validFrom": "2026-06-01T00:00:01Z",
        "expirationTime": "2036-01-01T00:00:00Z"}]},
    {"identity": "spiffe://td/ns/shop/sa/b", "state": "Initializing", "certChain": []},
    {"identity": "spiffe://td/ns/shop/sa/c", "state": "Available", "certChain": [
       {"serialNumber": "4", "validFrom": "2026-05-31T00:00:00Z",
        "expirationTime": "2026-06-02T00:00:00Z"},
       {"serialNumber": "5", "validFrom": "2026-05-31T00:00:00Z",
        "expirationTime": "2026-06-02T00:00:00Z"}]}]})");
  const std::string a = "spiffe://td/ns/shop/sa/a";
  const std::string c = "spiffe://td/ns/shop/sa/c";
  EXPECT_EQ(
      certificates_table(value, kNow),
      aligned(
          {{"CERTIFICATE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER",
            "NOT BEFORE"},
           {a, "Leaf", "Available", "true", "1", "2026-06-02T00:00:00Z", "2026-05-31T00:00:00Z"},
           {a, "Intermediate", "Available", "false", "2", "2026-05-31T23:59:59Z",
            "2020-01-01T00:00:00Z"},
           {a, "Root", "Available", "false", "3", "2036-01-01T00:00:00Z", "2026-06-01T00:00:01Z"},
           {"spiffe://td/ns/shop/sa/b", "-", "Initializing", "false", "-", "-", "-"},
           {c, "Leaf", "Available", "true", "4", "2026-06-02T00:00:00Z", "2026-05-31T00:00:00Z"},
           {c, "Root", "Available", "true", "5", "2026-06-02T00:00:00Z", "2026-05-31T00:00:00Z"}}));
}

TEST(DumpTables, Connections) {
  const auto value = dump(R"({"workloadState": {"u": {
    "state": "Up", "info": {"name": "web", "namespace": "shop"},
    "connections": {
      "inbound": [{"src": "10.0.0.9:555", "originalDst": "", "actualDst": "10.0.0.1:80",
                   "protocol": "HBONE"}],
      "outbound": [{"src": "10.0.0.1:666", "originalDst": "10.96.0.1:80",
                    "actualDst": "10.0.0.2:15008",
                    "protocol": "HBONE"}]}}}})");
  EXPECT_EQ(connections_table(value),
            aligned({{"WORKLOAD", "DIRECTION", "LOCAL", "REMOTE", "REMOTE TARGET", "PROTOCOL"},
                     {"web.shop", "Inbound", "10.0.0.1:80", "10.0.0.9:555", "-", "HBONE"},
                     {"web.shop", "Outbound", "10.0.0.1:666", "10.0.0.2:15008", "10.96.0.1:80",
                      "HBONE"}}));
}

TEST(DumpTables, WhatIsNoDumpIsAnEmptyTable) {
  for (const char* json :
       {"{}", "[]", "3", R"({"workloads": "x", "services": [7], "policies": [[]]})"}) {
    const auto value = dump(json);
    EXPECT_TRUE(workloads_table(value).starts_with("NAMESPACE")) << json;
    EXPECT_TRUE(services_table(value).starts_with("NAMESPACE")) << json;
    EXPECT_TRUE(policies_table(value).starts_with("NAMESPACE")) << json;
    EXPECT_TRUE(certificates_table(value, kNow).starts_with("CERTIFICATE NAME")) << json;
  }
}

TEST(DumpTables, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(aligned({{"A", "B", "C"}, {"long", "", "x"}, {"y", "zz"}}),
            "A      B    C\nlong        x\ny      zz\n");
}

}  // namespace
}  // namespace weft::cli
