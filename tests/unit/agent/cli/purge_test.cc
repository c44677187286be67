#include "agent/cli/purge.h"

#include <gmock/gmock.h>

namespace weft::cli {
namespace {

using objects::parse_json;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Purge, TakesOnlyWhatControlHasWritten) {
  const auto list = parse_json(R"({"items":[
      {"metadata":{"name":"istio-ca-root-cert","namespace":"shop",
                   "managedFields":[{"manager":"kubectl"},{"manager":"weft-control"}]}},
      {"metadata":{"name":"istio-ca-root-cert","namespace":"bank",
                   "managedFields":[{"manager":"pilot-discovery"}]}},
      {"metadata":{"name":"another","namespace":"shop",
                   "managedFields":[{"manager":"weft-control"}]}},
      {"metadata":{"name":"istio-ca-root-cert","namespace":"old"}}]})");
  EXPECT_THAT(root_config_maps_of_ours(*list),
              ElementsAre("/api/v1/namespaces/shop/configmaps/istio-ca-root-cert"));
}

TEST(Purge, WhatIsNoListHasNothing) {
  EXPECT_THAT(root_config_maps_of_ours(objects::Tree()), IsEmpty());
  EXPECT_THAT(root_config_maps_of_ours(*parse_json(R"({"items":[1,null,{}]})")), IsEmpty());
}

}  // namespace
}  // namespace weft::cli
