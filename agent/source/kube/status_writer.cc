#include "agent/objects/names.h"
#include "agent/objects/tree.h"
#include "agent/source/kube/kube_source.h"
#include "agent/source/kube/random.h"
#include "ztunnel/base/log.h"
#include "ztunnel/runtime/pause.h"

#include <map>
#include <set>

namespace weft::source::kube {
namespace {

using objects::Tree;
using runtime::Task;

constexpr std::chrono::milliseconds kBackoffFirst{500};
constexpr std::chrono::milliseconds kBackoffMax{30'000};
constexpr double kJitter = 0.5;
constexpr std::chrono::milliseconds kTimeout{15'000};

const Tree* condition_on_server(const Tree& status, const std::string& type) {
  const Tree* conditions = status.find("conditions");
  if (conditions == nullptr) return nullptr;
  for (const Tree& one : conditions->items) {
    if (one.text_of("type") == type) return &one;
  }
  return nullptr;
}

const char* word(bool is_true) { return is_true ? "True" : "False"; }

// observedGeneration is an int64, which Istio's JSON writes as text.
std::string observed(const Tree& of) {
  const Tree* found = of.find("observedGeneration");
  if (found == nullptr) return {};
  return found->kind == Tree::Kind::kInteger ? std::to_string(found->integer) : found->text;
}

// Of the types that we write. Conditions of others are not taken away.
bool has_ours(const OnServer& server) {
  return condition_on_server(server.status, "ZtunnelAccepted") != nullptr ||
         condition_on_server(server.status, "WaypointAccepted") != nullptr;
}

bool is_as_wanted(const OnServer& server, const std::vector<Condition>& wanted) {
  if (wanted.empty()) return !has_ours(server);
  const Tree* conditions = server.status.find("conditions");
  if ((conditions == nullptr ? 0 : conditions->items.size()) != wanted.size()) return false;
  for (const Condition& condition : wanted) {
    const Tree* there = condition_on_server(server.status, condition.type);
    if (there == nullptr || there->text_of("status") != word(condition.is_true) ||
        there->text_of("reason") != condition.reason ||
        there->text_of("message") != condition.message ||
        observed(*there) != std::to_string(server.generation)) {
      return false;
    }
  }
  return true;
}

Tree condition_of(const Condition& condition, const OnServer& server, const std::string& now) {
  const Tree* before = condition_on_server(server.status, condition.type);
  const bool is_same = before != nullptr && before->text_of("status") == word(condition.is_true);
  std::string since = is_same ? std::string(before->text_of("lastTransitionTime")) : now;
  if (since.empty()) since = now;
  Tree tree = Tree::map();
  tree.add("type", Tree::of(condition.type));
  tree.add("status", Tree::of(std::string(word(condition.is_true))));
  tree.add("reason", Tree::of(condition.reason));
  tree.add("message", Tree::of(condition.message));
  tree.add("observedGeneration", Tree::of(std::to_string(server.generation)));
  tree.add("lastTransitionTime", Tree::of(std::move(since)));
  return tree;
}

std::string patch_of(const objects::Key& key, const WritableObject& object,
                     const std::vector<Condition>& conditions, const std::string& now) {
  Tree metadata = Tree::map();
  metadata.add("name", Tree::of(key.name));
  metadata.add("namespace", Tree::of(key.ns));
  metadata.add("uid", Tree::of(object.on_server.uid));
  Tree list = Tree::list();
  for (const Condition& condition : conditions) {
    list.items.push_back(condition_of(condition, object.on_server, now));
  }
  Tree status = Tree::map();
  status.add("conditions", std::move(list));
  Tree patch = Tree::map();
  patch.add("apiVersion", Tree::of(object.api_version));
  patch.add("kind", Tree::of(key.kind));
  patch.add("metadata", std::move(metadata));
  patch.add("status", std::move(status));
  return objects::write_json(patch);
}

class Writer final : public KubeStatusWriter {
 public:
  Writer(ApiClient& client, const KubeSource& source, Clock clock)
      : client_(client),
        source_(source),
        clock_(std::move(clock)),
        backoff_(kBackoffFirst, kBackoffMax, kJitter, random_part),
        pause_(client.loop()) {}

  Result<void> write(const objects::Key& key, const std::vector<Condition>& conditions) override {
    if (!waiting_.contains(key) && waiting_.size() == kWaitingMax) {
      return fail(Code::kLimit, key.to_string() + ": its status is not written, " +
                                    std::to_string(kWaitingMax) + " others wait");
    }
    waiting_[key] = conditions;
    wake();
    return {};
  }

  Task<void> run() override;
  void set_active(bool active) override {
    active_ = active;
    wake();
  }
  void stop() override {
    stopped_ = true;
    wake();
    pause_.wake();
  }
  uint64_t written() const override { return written_; }

 private:
  enum class Outcome { kSettled, kLater };
  void wake() { changed_.wake(); }
  Task<Outcome> settle(objects::Key key, std::vector<Condition> conditions);
  Outcome judge(const objects::Key& key, const Result<Response>& response);

  ApiClient& client_;
  const KubeSource& source_;
  Clock clock_;
  std::map<objects::Key, std::vector<Condition>> waiting_;
  runtime::Backoff backoff_;
  runtime::Pause pause_;
  runtime::Event changed_;
  bool active_ = true;
  bool stopped_ = false;
  uint64_t written_ = 0;
};

// One at a time: a status is no hurry, and 5 000 of them at a start are a minute's work.
Task<void> Writer::run() {
  while (!stopped_) {
    if (!active_ || waiting_.empty()) {
      co_await changed_.wait();
      continue;
    }
    auto next = waiting_.extract(waiting_.begin());
    const Outcome outcome = co_await settle(next.key(), next.mapped());
    if (outcome == Outcome::kSettled) {
      backoff_.reset();
      continue;
    }
    // Where newer conditions came meanwhile, these count.
    waiting_.try_emplace(next.key(), std::move(next.mapped()));
    if (!stopped_) co_await pause_.wait(backoff_.next());
  }
}

Task<Writer::Outcome> Writer::settle(objects::Key key, std::vector<Condition> conditions) {
  const auto object = source_.writable(key);
  // Gone, or its CRD is. Of none, and none there: nothing to say.
  if (!object || is_as_wanted(object->on_server, conditions)) co_return Outcome::kSettled;
  const Request request{.method = "PATCH",
                        .path = object->path + "/status?fieldManager=weft&force=true",
                        .body = patch_of(key, *object, conditions, objects::format_time(clock_())),
                        .content_type = kApplyPatch,
                        .timeout = kTimeout};
  const auto response = co_await client_.request(request);
  co_return judge(key, response);
}

Writer::Outcome Writer::judge(const objects::Key& key, const Result<Response>& response) {
  if (response && response->is_good()) {
    ++written_;
    return Outcome::kSettled;
  }
  const Error error = response ? refusal_of(*response).to_error() : response.error();
  // Gone, or replaced by another: what comes of that one is told anew.
  if (response && (response->status == 404 || response->status == 409)) return Outcome::kSettled;
  const bool may_help = !response || response->status >= 500 || response->status == 429 ||
                        response->status == 401 || response->status == 403;
  if (stopped_) return Outcome::kLater;
  log::warn("kube")
      .field("object", key.to_string())
      .field("error", error.to_string())
      .say(may_help ? "its status is tried again" : "its status was not written");
  return may_help ? Outcome::kLater : Outcome::kSettled;
}

}  // namespace

std::unique_ptr<KubeStatusWriter> make_kube_status_writer(ApiClient& client,
                                                          const KubeSource& source, Clock clock) {
  return std::make_unique<Writer>(client, source, std::move(clock));
}

}  // namespace weft::source::kube
