#include "agent/source/kube/pod_event.h"

#include "agent/objects/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft::source::kube {
namespace {

using objects::Tree;

TEST(PodEvent, SaysWhatAboutWhichPod) {
  const auto now = std::chrono::system_clock::from_time_t(1'769'860'800);
  const std::string text = pod_event({.ns = "shop", .name = "users-0", .uid = "u-1"}, "NotCaptured",
                                     "a \"reason\"", now);
  EXPECT_EQ(text, R"({"apiVersion":"v1","kind":"Event","type":"Warning","reason":"NotCaptured",)"
                  R"("message":"a \"reason\"","firstTimestamp":"2026-01-31T12:00:00Z",)"
                  R"("lastTimestamp":"2026-01-31T12:00:00Z","count":1,)"
                  R"("metadata":{"generateName":"users-0.weft-","namespace":"shop"},)"
                  R"("involvedObject":{"apiVersion":"v1","kind":"Pod","namespace":"shop",)"
                  R"("name":"users-0","uid":"u-1"},"source":{"component":"weft-agent"}})");
}

TEST(PodEvent, FitsWhatAServerTakes) {
  const std::string text = pod_event({.ns = "a", .name = std::string(253, 'n'), .uid = "u"}, "R",
                                     std::string(5000, 'm'), {});
  const Result<Tree> event = objects::parse_json(text);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->text_of("message").size(), 1024u);
  EXPECT_LT(event->find("metadata")->text_of("generateName").size(), 240u);
  EXPECT_EQ(event->find("involvedObject")->text_of("name").size(), 253u);
}

}  // namespace
}  // namespace weft::source::kube
