#include "agent/objects/rules.h"

#include "agent/objects/object.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace weft::objects {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Rules, DurationsAsGoWritesThem) {
  EXPECT_EQ(parse_duration("300ms"), milliseconds(300));
  EXPECT_EQ(parse_duration("1.5h"), std::chrono::minutes(90));
  EXPECT_EQ(parse_duration("2h45m"), std::chrono::minutes(165));
  EXPECT_EQ(parse_duration(".5s"), milliseconds(500));
  EXPECT_EQ(parse_duration("-1s"), milliseconds(-1000));
  EXPECT_EQ(parse_duration("+1us"), nanoseconds(1000));
  EXPECT_EQ(parse_duration("0"), nanoseconds(0));
  EXPECT_EQ(parse_duration("1\xc2\xb5s"), nanoseconds(1000));
  for (const char* wrong : {"", "-", "1", "s", "1x", "1s ", " 1s", ".s", "1.2.3s", "1e3s", "00",
                            "9999999h", "99999999999999999999999999999999999999h"}) {
    EXPECT_EQ(parse_duration(wrong), std::nullopt) << wrong;
  }
}

std::vector<std::string> mistakes(const std::string& kind, const std::string& spec,
                                  const std::string& version = "networking.istio.io/v1") {
  const std::string text =
      "apiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: x}\nspec: " + spec + "\n";
  std::vector<std::string> messages;
  for (const Error& error : parse_manifests(text, "f").errors) messages.push_back(error.message);
  return messages;
}

TEST(Rules, AreCheckedByTheReader) {
  const std::tuple<std::string, std::string, std::string> kRows[] = {
      {"VirtualService", "{http: [{timeout: soon}]}",
       "spec.http[0].timeout: expected a duration of at least 1ms, such as 1.5s or 3m, got "
       "\"soon\""},
      {"VirtualService", "{http: [{timeout: 999us}]}", "at least 1ms"},
      {"DestinationRule", "{host: a, trafficPolicy: {retryBudget: {percent: 100.5}}}",
       "percent: expected at most 100, got 100.5"},
      {"WorkloadGroup", "{template: {}, probe: {periodSeconds: -1}}",
       "periodSeconds: expected at least 0, got -1"},
      {"WorkloadGroup", "{template: {ports: {a: 70000}}}",
       "spec.template.ports[a]: expected a port from 1 to 65535, got 70000"},
      {"Gateway",
       "{servers: [{hosts: [a], port: {number: 1, name: a, protocol: b}, tls: "
       "{credentialNames: [a, b, c]}}]}",
       "credentialNames: expected at most 2 values, got 3"},
      {"WorkloadEntry", "{address: a, locality: " + std::string(2049, 'x') + "}",
       "spec.locality: expected at most 2048 characters, got 2049"},
  };
  for (const auto& [kind, spec, message] : kRows) {
    EXPECT_THAT(mistakes(kind, spec), ElementsAre(HasSubstr(message))) << spec;
  }
}

// The same manifests that the API server has to accept (tests/kube/test_crds.py).
TEST(Rules, GoodManifestsAreReadAndGoRound) {
  size_t count = 0;
  for (const auto& file :
       std::filesystem::directory_iterator(WEFT_SOURCE_DIR "/tests/kube/crds/good")) {
    std::ifstream in(file.path());
    std::ostringstream text;
    text << in.rdbuf();
    const Parsed parsed = parse_manifests(text.str(), file.path().string());
    EXPECT_TRUE(parsed.errors.empty()) << parsed.errors.front().message;
    for (const auto& object : parsed.objects) {
      const std::string json = to_json(*object);
      const Parsed again = parse_manifests(json, "again");
      ASSERT_EQ(again.objects.size(), 1U) << json;
      EXPECT_EQ(to_json(*again.objects.front()), json);
      ++count;
    }
  }
  EXPECT_GT(count, 30U);
}

TEST(Rules, AnOlderNameOfAFieldIsTheField) {
  const Parsed parsed = parse_manifests(
      "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\n"
      "spec: {http: [{mirror_percent: 30}]}\n",
      "f");
  ASSERT_EQ(parsed.objects.size(), 1U);
  EXPECT_THAT(to_json(*parsed.objects.front()), HasSubstr("\"mirrorPercent\":30"));
}

// Others write what they like there, and it must not make the rest unreadable.
TEST(Rules, UnknownFieldsOfAStatusAreNoMistake) {
  EXPECT_THAT(
      mistakes("WorkloadEntry", "{address: a}\nstatus: {own: 1, conditions: [{type: a, more: b}]}"),
      IsEmpty());
}

}  // namespace
}  // namespace weft::objects
