// What each of bookinfo's networking examples makes of its services' routes.

#include "tests/unit/agent/compile/l7/shop.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

namespace weft::l7 {
namespace {

std::string text_of(const std::string& name) {
  const std::string path = std::string(WEFT_SOURCE_DIR) + "/scripts/bookinfo/" + name;
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return "---\n" + text.str();
}

// "[end-user=jason] delay 7000: v1 100" a line for each route.
std::string describe(const weft::route::Routes& routes) {
  std::string text;
  for (const auto& route : routes.ports(0).http()) {
    for (const auto& match : route.matches()) {
      for (const auto& header : match.headers()) {
        text += "[" + header.name() + "=" + header.value().exact() + "] ";
      }
    }
    if (route.fault().has_delay()) {
      text += "delay " + std::to_string(route.fault().delay().delay_ms()) + ": ";
    }
    if (route.fault().has_abort()) {
      text += "abort " + std::to_string(route.fault().abort().http_status()) + ": ";
    }
    for (const auto& one : route.forward().destinations()) {
      const std::string& host = one.destination().hostname();
      text += host.substr(0, host.find('.')) + " " + one.destination().subset() + " " +
              std::to_string(one.weight()) + ", ";
    }
    text += "\n";
  }
  return text;
}

struct Row {
  const char* file;
  const char* service;
  const char* expected;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.file << " " << row.service; }

constexpr Row kRows[] = {
    {"virtual-service-all-v1.yaml", "productpage", "productpage v1 1, \n"},
    {"virtual-service-all-v1.yaml", "reviews", "reviews v1 1, \n"},
    {"virtual-service-all-v1.yaml", "ratings", "ratings v1 1, \n"},
    {"virtual-service-all-v1.yaml", "details", "details v1 1, \n"},
    {"virtual-service-details-v2.yaml", "details", "details v2 1, \n"},
    {"virtual-service-ratings-db.yaml", "ratings", "ratings v2 1, \n"},
    {"virtual-service-ratings-mysql.yaml", "ratings", "ratings v2-mysql 1, \n"},
    {"virtual-service-ratings-mysql-vm.yaml", "ratings", "ratings v2-mysql-vm 1, \n"},
    {"virtual-service-ratings-mysql.yaml", "reviews", "reviews v3 1, \n"},
    {"virtual-service-ratings-test-abort.yaml", "ratings",
     "[end-user=jason] abort 500: ratings v1 1, \nratings v1 1, \n"},
    {"virtual-service-ratings-test-delay.yaml", "ratings",
     "[end-user=jason] delay 7000: ratings v1 1, \nratings v1 1, \n"},
    {"virtual-service-reviews-50-v3.yaml", "reviews", "reviews v1 50, reviews v3 50, \n"},
    {"virtual-service-reviews-80-20.yaml", "reviews", "reviews v1 80, reviews v2 20, \n"},
    {"virtual-service-reviews-90-10.yaml", "reviews", "reviews v1 90, reviews v2 10, \n"},
    {"virtual-service-reviews-jason-v2-v3.yaml", "reviews",
     "[end-user=jason] reviews v2 1, \nreviews v3 1, \n"},
    {"virtual-service-reviews-test-v2.yaml", "reviews",
     "[end-user=jason] reviews v2 1, \nreviews v1 1, \n"},
    {"virtual-service-reviews-v2-v3.yaml", "reviews", "reviews v2 50, reviews v3 50, \n"},
    {"virtual-service-reviews-v3.yaml", "reviews", "reviews v3 1, \n"},
    {"fault-injection-details-v1.yaml", "details", "abort 555: details v1 1, \n"},
    {"gateway-api/route-all-v1.yaml", "reviews", "reviews-v1  1, \n"},
    {"gateway-api/route-reviews-50-v3.yaml", "reviews", "reviews-v1  50, reviews-v3  50, \n"},
    {"gateway-api/route-reviews-90-10.yaml", "reviews", "reviews-v1  90, reviews-v2  10, \n"},
    {"gateway-api/route-reviews-v1.yaml", "reviews", "reviews-v1  1, \n"},
    {"gateway-api/route-reviews-v3.yaml", "reviews", "reviews-v3  1, \n"},
};

class Bookinfo : public testing::TestWithParam<Row> {};

TEST_P(Bookinfo, IsRouted) {
  std::string base = text_of("manifests/bookinfo.yaml");
  const std::string label = "istio.io/dataplane-mode: ambient";
  base.replace(base.find(label), label.size(), label + "\n    istio.io/use-waypoint: waypoint");
  Compiler compiler({});
  compiler.apply(changes_of(base + text_of("networking/destination-rule-all.yaml") +
                            text_of("networking/gateway-api/versions.yaml") +
                            text_of(std::string("networking/") + GetParam().file)));
  EXPECT_EQ(describe(routes_of(compiler, GetParam().service, "bookinfo", "bookinfo/waypoint")),
            GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(Examples, Bookinfo, testing::ValuesIn(kRows));

}  // namespace
}  // namespace weft::l7
