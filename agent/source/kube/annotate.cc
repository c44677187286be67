#include "agent/source/kube/annotate.h"

#include "agent/objects/tree.h"

namespace weft::source::kube {
namespace {

using objects::Tree;
using runtime::Task;

// Enrolment tries again by itself, later; this is for a moment's hiccup.
constexpr int kTries = 4;
constexpr std::chrono::milliseconds kFirstPause{200};
constexpr std::chrono::milliseconds kPauseMax{2'000};
constexpr std::chrono::milliseconds kTimeout{10'000};

std::string patch_of(const PodName& pod, const std::string& key, const std::string& value) {
  Tree annotations = Tree::map();
  annotations.add(key, value.empty() ? Tree() : Tree::of(value));
  Tree metadata = Tree::map();
  // A patch of another uid is refused: it would change the object's identity.
  metadata.add("uid", Tree::of(pod.uid));
  metadata.add("annotations", std::move(annotations));
  Tree patch = Tree::map();
  patch.add("metadata", std::move(metadata));
  return objects::write_json(patch);
}

// The uid did not fit: as a conflict, or, of a subresource, as a change of what cannot change.
bool is_of_another_pod(const Response& response) {
  return response.status == 409 ||
         (response.status == 422 && refusal_of(response).message.contains("metadata.uid"));
}

}  // namespace

Task<Result<void>> annotate_pod(ApiClient& client, PodName pod, std::string key,
                                std::string value) {
  const Request request{
      .method = "PATCH",
      .path = "/api/v1/namespaces/" + escape(pod.ns) + "/pods/" + escape(pod.name) + "/status",
      .body = patch_of(pod, key, value),
      .content_type = kMergePatch,
      .timeout = kTimeout};
  auto pause = kFirstPause;
  for (int tries = 1;; ++tries) {
    const auto response = co_await client.request(request);
    if (response && response->is_good()) co_return Result<void>();
    Error error = response ? refusal_of(*response).to_error() : response.error();
    if (response && is_of_another_pod(*response)) {
      error = Error(Code::kNotFound, "another pod has this name now", std::move(error));
    }
    const bool may_help = error.code == Code::kUnavailable || error.code == Code::kReset;
    if (!may_help || tries == kTries) {
      co_return Fail(std::move(error).in("annotating Pod/" + pod.ns + "/" + pod.name));
    }
    const auto wanted = response ? response->retry_after : std::nullopt;
    co_await client.loop().sleep(std::min(wanted.value_or(pause), kPauseMax));
    pause *= 2;
  }
}

}  // namespace weft::source::kube
