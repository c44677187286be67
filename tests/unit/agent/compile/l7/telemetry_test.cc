#include "agent/compile/l7/telemetry.h"

#include "tests/unit/agent/compile/l7/shop.h"

#include <gmock/gmock.h>

namespace weft::l7 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string telemetry(const std::string& ns, const std::string& name, const std::string& spec,
                      int year = 2026) {
  return "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\n" + meta(ns, name, year) +
         "spec: " + spec + "\n";
}

std::string mesh(const std::string& text) {
  return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: istio-system, name: istio}\n"
         "data:\n  mesh: |\n" +
         text;
}

constexpr const char* kCollectors =
    "    extensionProviders:\n"
    "    - name: zip\n"
    "      zipkin: {service: zipkin.tools.svc.cluster.local, port: 9411, maxTagLength: 64}\n"
    "    - name: otel\n"
    "      opentelemetry: {service: tools/otel.example.com, port: 4317}\n"
    "    - name: otel-http\n"
    "      opentelemetry:\n"
    "        service: otel.tools\n"
    "        port: 4318\n"
    "        http: {path: /in, headers: [{name: x-key, value: secret}]}\n"
    "    - name: json\n"
    "      envoyFileAccessLog: {path: /dev/stderr, logFormat: {labels: {b: '%PROTOCOL%', a: x}}}\n"
    "    - name: stats\n"
    "      prometheus: {}\n";

std::string told(const Compiler& compiler, const std::string& name = "shop/wp/*") {
  weft::telemetry::Telemetry message;
  for (const Resource& one : compiler.all()) {
    if (one.type != kTelemetryType || one.name != name) continue;
    EXPECT_TRUE(message.ParseFromString(one.bytes));
    return to_json(message);
  }
  return "nothing";
}

TEST(WaypointTelemetry, IsNotToldWhatItDoesAnyway) {
  const Shop compiler(mesh("    enableTracing: true\n") + telemetry("shop", "t", "{}"));
  EXPECT_EQ(told(compiler), "nothing");
}

TEST(WaypointTelemetry, HasTheMeshsAccessLog) {
  EXPECT_EQ(told(Shop(mesh("    accessLogFile: /dev/stdout\n"))),
            "{\"accessLogs\":[{\"provider\":\"accessLogFile\",\"path\":\"/dev/stdout\"}],"
            "\"metrics\":{}}");
  EXPECT_THAT(told(Shop(mesh("    accessLogFile: /dev/stdout\n    accessLogEncoding: JSON\n"
                             "    accessLogFormat: '{\"who\": \"%REQ(A)%\"}'\n"))),
              HasSubstr("\"json\":[{\"name\":\"who\",\"format\":\"%REQ(A)%\"}]"));
  EXPECT_THAT(told(Shop(mesh("    accessLogFile: /dev/stdout\n    accessLogEncoding: JSON\n"))),
              HasSubstr("{\"name\":\"authority\",\"format\":\"%REQ(:AUTHORITY)%\"}"));
}

TEST(WaypointTelemetry, LogsAsTelemetrySays) {
  const std::string logs =
      telemetry("istio-system", "mesh", "{accessLogging: [{providers: [{name: json}]}]}") +
      telemetry("shop", "ours", "{accessLogging: [{filter: {expression: response.code == 503}}]}");
  EXPECT_EQ(told(Shop(mesh(kCollectors) + logs)),
            "{\"accessLogs\":[{\"provider\":\"json\",\"path\":\"/dev/stderr\","
            "\"json\":[{\"name\":\"a\",\"format\":\"x\"},{\"name\":\"b\",\"format\":"
            "\"%PROTOCOL%\"}],\"filter\":\"response.code == 503\"}],\"metrics\":{}}");
  const std::string off = telemetry("shop", "ours", "{accessLogging: [{disabled: true}]}");
  EXPECT_EQ(told(Shop(mesh(kCollectors) + logs + off)), "nothing");
  // What is only for clients is not for a waypoint; what nobody has defined is left out.
  EXPECT_EQ(told(Shop(telemetry("shop", "t",
                                "{accessLogging: [{match: {mode: CLIENT}, providers: [{name: "
                                "envoy}]}, {providers: [{name: nobody}]}]}"))),
            "nothing");
  EXPECT_THAT(told(Shop(telemetry("shop", "t", "{accessLogging: [{providers: [{name: envoy}]}]}"))),
              HasSubstr("\"provider\":\"envoy\",\"path\":\"/dev/stdout\""));
}

TEST(WaypointTelemetry, KeepsMetricsAsTelemetrySays) {
  EXPECT_EQ(
      told(Shop(telemetry(
          "shop", "t",
          "{metrics: [{overrides: [{match: {metric: REQUEST_COUNT, mode: SERVER}, tagOverrides: "
          "{b: {value: request.host}, a: {operation: REMOVE}}}, {match: {metric: "
          "TCP_SENT_BYTES}, disabled: true}, {match: {metric: ALL_METRICS, mode: CLIENT}, "
          "disabled: true}, {match: {customMetric: istio_request_bytes}, disabled: true}]}]}"))),
      "{\"metrics\":{\"overrides\":[{\"metrics\":[\"REQUESTS\"],\"tags\":[{\"name\":\"a\"},"
      "{\"name\":\"b\",\"value\":\"request.host\"}]},{\"metrics\":[\"REQUEST_BYTES\"],"
      "\"disabled\":true}]}}");
  EXPECT_EQ(told(Shop(mesh(kCollectors) +
                      telemetry("shop", "t", "{metrics: [{providers: [{name: zip}]}]}"))),
            "{}");
  EXPECT_EQ(told(Shop(mesh(kCollectors) +
                      telemetry("shop", "t", "{metrics: [{providers: [{name: stats}]}]}"))),
            "nothing");
}

TEST(WaypointTelemetry, TracesToTheProvider) {
  const auto traced = [](const std::string& tracing, const std::string& more = "") {
    return told(Shop(mesh(std::string(kCollectors) + more) +
                     telemetry("shop", "t", "{tracing: [" + tracing + "]}")));
  };
  EXPECT_THAT(
      traced("{providers: [{name: zip}], randomSamplingPercentage: 12.5}"),
      HasSubstr("\"tracing\":{\"provider\":\"zip\",\"collector\":{\"namespace\":\"tools\","
                "\"hostname\":\"zipkin.tools.svc.cluster.local\",\"port\":9411},"
                "\"authority\":\"zipkin.tools.svc.cluster.local:9411\",\"path\":\"/api/v2/spans\","
                "\"samplingPercent\":12.5,\"report\":true,\"propagate\":true,\"meshTags\":true,"
                "\"tagBytesMax\":64,\"serviceName\":\"wp.shop\"}"));
  EXPECT_THAT(traced("{providers: [{name: otel}]}"),
              HasSubstr("\"protocol\":\"OTLP_GRPC\",\"collector\":{\"namespace\":\"tools\","
                        "\"hostname\":\"otel.example.com\",\"port\":4317}"));
  const std::string http = traced("{providers: [{name: otel-http}]}");
  EXPECT_THAT(http, HasSubstr("\"protocol\":\"OTLP_HTTP\",\"collector\":{\"namespace\":\"tools\","
                              "\"hostname\":\"otel.tools.svc.cluster.local\",\"port\":4318}"));
  EXPECT_THAT(http, HasSubstr("\"path\":\"/in\",\"headers\":[{\"name\":\"x-key\",\"value\":"
                              "\"secret\"}],\"samplingPercent\":1,"));
  EXPECT_THAT(traced("{disableSpanReporting: true, enableIstioTags: false, "
                     "disableContextPropagation: true, customTags: {l: {literal: {value: 5%}}, "
                     "h: {header: {name: x-h, defaultValue: none}}, f: {formatter: {value: "
                     "'%PROTOCOL%'}}, e: {environment: {name: E}}}}",
                     "    defaultProviders: {tracing: [otel]}\n"
                     "    defaultConfig: {tracing: {sampling: 50}}\n"),
              HasSubstr("\"samplingPercent\":50,\"tags\":[{\"name\":\"e\",\"format\":"
                        "\"%ENVIRONMENT(E)%\"},{\"name\":\"f\",\"format\":\"%PROTOCOL%\"},"
                        "{\"name\":\"h\",\"format\":\"%REQ(x-h)%\",\"defaultValue\":\"none\"},"
                        "{\"name\":\"l\",\"format\":\"5%%\"}],\"serviceName\":\"wp.shop\""));
  EXPECT_THAT(told(Shop(mesh("    enableTracing: true\n"
                             "    defaultConfig: {tracing: {zipkin: {address: "
                             "zipkin.istio-system:9411}}}\n"))),
              HasSubstr("\"hostname\":\"zipkin.istio-system.svc.cluster.local\",\"port\":9411"));
}

TEST(WaypointTelemetry, IsAServicesOwnWhereSomebodySaysSo) {
  const std::string log = "accessLogging: [{providers: [{name: envoy}]}]";
  const std::string web = "shop/wp/shop/web.shop.svc.cluster.local";
  const Shop named(telemetry(
      "shop", "t", "{targetRefs: [{group: \"\", kind: Service, name: web}], " + log + "}"));
  EXPECT_EQ(told(named), "nothing");
  EXPECT_THAT(told(named, web), HasSubstr("\"hostname\":\"web.shop.svc.cluster.local\","
                                          "\"accessLogs\":[{\"provider\":\"envoy\""));
  const Shop gateway(
      telemetry("shop", "t",
                "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: wp}], " +
                    log + "}") +
      telemetry("shop", "pods", "{selector: {matchLabels: {app: web}}, accessLogging: []}"));
  EXPECT_THAT(told(gateway), HasSubstr("envoy"));
  EXPECT_EQ(told(gateway, web), "nothing");
}

TEST(WaypointTelemetry, FollowsChanges) {
  Shop compiler("");
  const std::string log = "{accessLogging: [{providers: [{name: envoy}]}]}";
  EXPECT_THAT(steps(compiler.apply(changes_of(telemetry("shop", "t", log)))),
              ElementsAre("+shop/wp/*"));
  EXPECT_THAT(compiler.apply(changes_of(telemetry("shop", "t", log))), IsEmpty());
  // The older one counts.
  EXPECT_THAT(compiler.apply(changes_of(telemetry("shop", "younger", "{}", 2027))), IsEmpty());
  EXPECT_THAT(steps(compiler.apply(changes_of(telemetry("shop", "older", "{}", 2020)))),
              ElementsAre("-shop/wp/*"));
  EXPECT_THAT(steps(compiler.apply({removal("Telemetry", "shop", "older")})),
              ElementsAre("+shop/wp/*"));
  const auto gone = steps(compiler.apply(changes_of(shop_namespace(""))));
  EXPECT_THAT(gone, testing::Contains("-shop/wp/*"));
}

}  // namespace
}  // namespace weft::l7
