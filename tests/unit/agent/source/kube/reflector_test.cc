#include "agent/source/kube/reflector.h"

#include "tests/unit/agent/source/kube/scripted_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

// A lying server: what a reflector asks next, and what it ends up with.

namespace weft::source::kube {
namespace {

using runtime::Task;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using weft::testing::ScriptedServer;
using Stream = std::unique_ptr<http::H2Stream>;

std::string pod(const std::string& name, int version) {
  return R"({"metadata":{"name":")" + name + R"(","namespace":"a","resourceVersion":")" +
         std::to_string(version) + R"("},"spec":{"containers":[{"name":"c"}]}})";
}
std::string list(const std::vector<std::string>& items, int version, const std::string& next = "") {
  std::string text = R"({"metadata":{"resourceVersion":")" + std::to_string(version) +
                     R"(","continue":")" + next + R"("},"items":[)";
  for (size_t i = 0; i < items.size(); ++i) text += (i > 0 ? "," : "") + items[i];
  return text + "]}";
}
std::string added(const std::string& object) {
  return R"({"type":"ADDED","object":)" + object + "}\n";
}

// One answer of the script.
struct Step {
  std::string status = "200";
  std::string body = {};
  bool hold = false;   // the stream stays open
  bool reset = false;  // it breaks behind the body
  std::vector<http::Header> headers = {};
};

class Lying : public ::testing::Test {
 protected:
  Lying()
      : loop_(runtime::Loop::create_best().value()),
        server_(*loop_, [this](ScriptedServer&, Stream stream) { return play(std::move(stream)); }),
        client_(ApiClient::make(*loop_, weft::testing::scripted_config(), server_.dial())),
        reflector_(
            *client_, {{.group = "", .versions = {"v1"}, .plural = "pods", .kind = "Pod"}, "v1"},
            {.changed = [this] { note(); },
             .failed = [this](const Error& error) { errors_.push_back(error.to_string()); }}) {}

  Task<void> play(Stream stream) {
    Step step{.hold = true};
    if (!script_.empty()) {
      step = std::move(script_.front());
      script_.pop_front();
    }
    std::vector<http::Header> headers{{":status", step.status}};
    headers.insert(headers.end(), step.headers.begin(), step.headers.end());
    if (!stream->respond(headers, false)) co_return;
    if (!step.body.empty())
      static_cast<void>(co_await weft::testing::send(*loop_, *stream, step.body));
    if (step.hold) {
      held_.push_back(std::move(stream));
    } else if (step.reset) {
      // What was said before is to arrive.
      co_await loop_->sleep(std::chrono::milliseconds(20));
      stream->abort();
    } else {
      static_cast<void>(co_await stream->shutdown_write());
    }
  }

  void note() {
    for (const Change& change : reflector_.mirror().take_changes()) {
      if (change.object) {
        names_.insert(change.key.name);
      } else {
        names_.erase(change.key.name);
      }
    }
  }

  // Runs the script to its end and until the mirror has exactly these names.
  bool ends_with(std::set<std::string> names) {
    return weft::testing::run(*loop_, run_until(std::move(names)));
  }
  Task<bool> run_until(std::set<std::string> names) {
    runtime::TaskScope tasks;
    tasks.spawn(reflector_.run());
    const bool held = co_await weft::testing::wait_for(
        *loop_, [&] { return script_.empty() && names_ == names && !held_.empty(); });
    reflector_.stop();
    co_await client_->stop();
    co_await tasks.join();
    held_.clear();
    co_await server_.join();
    co_return held;
  }
  // "list", "list more", "watch 10": what was asked, in order.
  std::vector<std::string> asked() const {
    std::vector<std::string> all;
    for (const std::string& request : server_.requests) {
      const auto value = [&](const std::string& name) {
        const size_t at = request.find(name + "=");
        if (at == std::string::npos) return std::string();
        const size_t from = at + name.size() + 1;
        return request.substr(from, request.find('&', from) - from);
      };
      if (request.contains("watch=1")) {
        all.push_back("watch " + value("resourceVersion"));
      } else {
        all.push_back(value("continue").empty() ? "list" : "list " + value("continue"));
      }
    }
    return all;
  }

  std::unique_ptr<runtime::Loop> loop_;
  std::deque<Step> script_;
  std::vector<Stream> held_;
  std::set<std::string> names_;
  std::vector<std::string> errors_;
  ScriptedServer server_;
  std::unique_ptr<ApiClient> client_;
  Reflector reflector_;
};

TEST_F(Lying, WatchThatIsCutInTheMiddleOfAnEventGoesOnBehindTheLastWholeOne) {
  const std::string half = added(pod("r", 12));
  script_ = {{.body = list({pod("p", 1)}, 10)},
             {.body = added(pod("q", 11)) + half.substr(0, half.size() / 2), .reset = true},
             {.body = half, .hold = true}};
  EXPECT_TRUE(ends_with({"p", "q", "r"}));
  EXPECT_THAT(asked(), ElementsAre("list", "watch 10", "watch 11"));
  EXPECT_TRUE(errors_.empty());
}

TEST_F(Lying, GoneInTheStreamAndByStatusBothLeadToAList) {
  script_ = {{.body = list({pod("p", 1)}, 10)},
             {.body = R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})"
                      "\n"},
             {.body = list({pod("q", 20)}, 20)},
             {.status = "410", .body = R"({"kind":"Status","code":410,"reason":"Gone"})"},
             {.body = list({pod("r", 30)}, 30)},
             {.hold = true}};
  EXPECT_TRUE(ends_with({"r"}));
  EXPECT_THAT(asked(), ElementsAre("list", "watch 10", "list", "watch 20", "list", "watch 30"));
}

TEST_F(Lying, ListWhosePagesExpireIsBegunAgain) {
  script_ = {{.body = list({pod("p", 1)}, 10, "t1")},
             {.status = "410", .body = R"({"kind":"Status","code":410,"reason":"Expired"})"},
             {.body = list({pod("q", 2)}, 20, "t2")},
             {.body = list({pod("r", 3)}, 20)},
             {.hold = true}};
  EXPECT_TRUE(ends_with({"q", "r"}));
  EXPECT_THAT(asked(), ElementsAre("list", "list t1", "list", "list t2", "watch 20"));
}

TEST_F(Lying, BookmarkIsWhereTheNextWatchBegins) {
  script_ = {{.body = list({}, 10)},
             {.body = R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"77"}}})"
                      "\n"},
             {.body = added(pod("p", 78)), .hold = true}};
  EXPECT_TRUE(ends_with({"p"}));
  EXPECT_THAT(asked(), ElementsAre("list", "watch 10", "watch 77"));
}

TEST_F(Lying, TooManyRequestsIsWaitedOutAsLongAsTheServerSays) {
  script_ = {{.status = "429", .body = "", .headers = {{"retry-after", "1"}}},
             {.body = list({pod("p", 1)}, 10)},
             {.hold = true}};
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(ends_with({"p"}));
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  EXPECT_THAT(errors_, ElementsAre(HasSubstr("429")));
}

TEST_F(Lying, GarbageInAWatchLeadsToAList) {
  script_ = {{.body = list({pod("p", 1)}, 10)},
             {.body = "<html>login</html>\n", .hold = false},
             {.body = list({pod("q", 2)}, 20)},
             {.hold = true}};
  EXPECT_TRUE(ends_with({"q"}));
  EXPECT_THAT(asked(), ElementsAre("list", "watch 10", "list", "watch 20"));
  EXPECT_THAT(errors_, Contains(HasSubstr("sent no JSON")));
}

TEST_F(Lying, EventWithoutEndIsCutOffAndListed) {
  script_ = {{.body = list({pod("p", 1)}, 10)},
             {.body = std::string(objects::kTextBytesMax + 1000, 'x'), .hold = false},
             {.body = list({pod("q", 2)}, 20)},
             {.hold = true}};
  EXPECT_TRUE(ends_with({"q"}));
  EXPECT_THAT(errors_, Contains(HasSubstr("a watch event of more than")));
}

TEST_F(Lying, VersionThatTheServerHasNotReachedLeadsToAListInTheEnd) {
  const Step too_large{
      .status = "504",
      .body = R"({"kind":"Status","reason":"Timeout","message":"Too large resource version"})"};
  script_ = {{.body = list({pod("p", 1)}, 1000)}, too_large,     too_large, too_large,
             {.body = list({pod("q", 2)}, 20)},   {.hold = true}};
  EXPECT_TRUE(ends_with({"q"}));
  EXPECT_THAT(asked(),
              ElementsAre("list", "watch 1000", "watch 1000", "watch 1000", "list", "watch 20"));
}

TEST_F(Lying, ServerThatEndsEveryWatchAtOnceIsNotAskedInALoop) {
  script_ = {{.body = list({pod("p", 1)}, 10)}, {}, {}, {.hold = true}};
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(ends_with({"p"}));
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(250));
}

TEST_F(Lying, ForbiddenListIsSaidOnceAndTriedAgain) {
  const Step forbidden{
      .status = "403",
      .body = R"({"kind":"Status","reason":"Forbidden","message":"pods is forbidden"})"};
  script_ = {forbidden, forbidden, {.body = list({pod("p", 1)}, 10)}, {.hold = true}};
  EXPECT_TRUE(ends_with({"p"}));
  EXPECT_THAT(errors_, ElementsAre(HasSubstr(
                           "listing /api/v1/pods: the API server answered 403 Forbidden: pods is "
                           "forbidden (does an RBAC rule")));
}

}  // namespace
}  // namespace weft::source::kube
