#include "agent/source/kube/pod_event.h"

#include "agent/objects/names.h"
#include "agent/objects/tree.h"

namespace weft::source::kube {
namespace {

using objects::Tree;

constexpr const char* kComponent = "weft-agent";
// The API server's limit for Event.message.
constexpr size_t kMessageBytesMax = 1024;

Tree text_map(std::initializer_list<std::pair<const char*, std::string>> members) {
  Tree map = Tree::map();
  for (const auto& [name, value] : members) map.add(name, Tree::of(value));
  return map;
}

}  // namespace

std::string pod_event(const PodName& pod, const std::string& reason, const std::string& message,
                      std::chrono::system_clock::time_point now) {
  const std::string time = objects::format_time(now);
  Tree event = text_map({{"apiVersion", "v1"},
                         {"kind", "Event"},
                         {"type", "Warning"},
                         {"reason", reason},
                         {"message", message.substr(0, kMessageBytesMax)},
                         {"firstTimestamp", time},
                         {"lastTimestamp", time}});
  event.add("count", Tree::of(int64_t{1}));
  // A pod's name may be as long as any object's: the rest is the server's.
  event.add("metadata", text_map({{"generateName", pod.name.substr(0, 200) + ".weft-"},
                                  {"namespace", pod.ns}}));
  event.add("involvedObject", text_map({{"apiVersion", "v1"},
                                        {"kind", "Pod"},
                                        {"namespace", pod.ns},
                                        {"name", pod.name},
                                        {"uid", pod.uid}}));
  event.add("source", text_map({{"component", kComponent}}));
  return objects::write_json(event);
}

runtime::Task<Result<void>> warn_about_pod(ApiClient& client, PodName pod, std::string reason,
                                           std::string message) {
  const Request request{.method = "POST",
                        .path = "/api/v1/namespaces/" + escape(pod.ns) + "/events",
                        .body = pod_event(pod, reason, message, std::chrono::system_clock::now())};
  const Result<std::string> answer = body_of(co_await client.request(request));
  if (!answer) co_return Fail(answer.error());
  co_return Result<void>();
}

}  // namespace weft::source::kube
