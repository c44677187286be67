#include "agent/cli/waypoint_place.h"

#include "agent/cli/cluster.h"
#include "agent/sandbox/admission.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/lifecycle.h"
#include "agent/sandbox/store.h"
#include "agent/source/kube/api_client.h"
#include "proto/crd/gateway_api.pb.h"
#include "ztunnel/runtime/sync.h"

namespace weft::cli {

namespace {

using objects::Tree;
using runtime::Task;
using source::kube::ApiClient;
using source::kube::Request;

constexpr const char* kGateways = "/apis/gateway.networking.k8s.io/v1";

std::string in_namespace(const std::string& ns) {
  return std::string(kGateways) + (ns.empty() ? "" : "/namespaces/" + source::kube::escape(ns)) +
         "/gateways";
}

Task<void> ask_one(ApiClient& client, Request request, Result<source::kube::Response>& answer) {
  answer = co_await client.request(std::move(request));
  co_await client.stop();
  client.loop().stop();
}

class OnCluster final : public WaypointPlace {
 public:
  explicit OnCluster(const Flags& flags) : flags_(flags) {}

  Result<std::vector<Tree>> gateways(const std::string& ns) override {
    const Tree list = TRY(ask({.path = in_namespace(ns)}));
    const Tree* items = list.find("items");
    return items == nullptr ? std::vector<Tree>() : items->items;
  }

  Result<void> apply(const Tree& gateway) override {
    const Tree& meta = *gateway.find("metadata");
    TRY(ask({.method = "PATCH",
             .path = in_namespace(std::string(meta.text_of("namespace"))) + "/" +
                     source::kube::escape(meta.text_of("name")) + "?fieldManager=weft&force=true",
             .body = objects::write_json(gateway),
             .content_type = source::kube::kApplyPatch}));
    return {};
  }

  Result<void> remove(const std::string& ns, const std::string& name) override {
    TRY(ask({.method = "DELETE", .path = in_namespace(ns) + "/" + source::kube::escape(name)}));
    return {};
  }

  Result<Tree> labels_of(const std::string& ns) override {
    const Tree object = TRY(ask({.path = path_of(ns)}));
    const Tree* meta = object.find("metadata");
    const Tree* labels = meta == nullptr ? nullptr : meta->find("labels");
    return labels == nullptr ? Tree::map() : *labels;
  }

  Result<void> label(const std::string& ns, const std::string& key,
                     const std::string& value) override {
    Tree labels = Tree::map();
    labels.add(key, value.empty() ? Tree() : Tree::of(value));
    Tree meta = Tree::map();
    meta.add("labels", std::move(labels));
    Tree patch = Tree::map();
    patch.add("metadata", std::move(meta));
    TRY(ask({.method = "PATCH",
             .path = path_of(ns),
             .body = objects::write_json(patch),
             .content_type = source::kube::kMergePatch}));
    return {};
  }

 private:
  static std::string path_of(const std::string& ns) {
    return "/api/v1/namespaces/" + source::kube::escape(ns);
  }

  Result<Tree> ask(Request request) {
    auto config = TRY(cluster_config(flags_));
    const auto loop = TRY(runtime::Loop::create(runtime::Backend::kEpoll));
    const auto client = ApiClient::make(*loop, std::move(config));
    Result<source::kube::Response> answer = fail(Code::kInternal, "nothing was asked");
    loop->spawn(ask_one(*client, std::move(request), answer));
    loop->run();
    if (answer && answer->status == 404) {
      return fail(Code::kNotFound, source::kube::refusal_of(*answer).message);
    }
    return objects::parse_json(TRY(source::kube::body_of(std::move(answer))));
  }

  const Flags& flags_;
};

class InSandbox final : public WaypointPlace {
 public:
  explicit InSandbox(const sandbox::Layout& layout) : store_(layout.objects()) {}

  Result<std::vector<Tree>> gateways(const std::string& ns) override {
    std::vector<Tree> found;
    for (const auto& object : TRY(store_.list())) {
      const bool is_here = ns.empty() || object->metadata().namespace_() == ns;
      if (!is_here || object->as<crd::gateway_api::Gateway>() == nullptr) continue;
      found.push_back(TRY(objects::parse_json(objects::to_json(*object))));
    }
    return found;
  }

  Result<void> apply(const Tree& gateway) override {
    const auto parsed = objects::parse_manifests(objects::write_json(gateway), "the Gateway");
    if (!parsed.errors.empty()) return Fail(parsed.errors.front());
    const auto& wanted = *parsed.objects.front();
    const auto lock = TRY(store_.lock());
    const auto old = TRY(store_.get(wanted.key()));
    return store_.put(*sandbox::with_metadata(wanted, [&](crd::core::ObjectMeta& meta) {
      meta.set_uid(old ? old->metadata().uid() : sandbox::new_uid());
      meta.set_creationtimestamp(old ? old->metadata().creationtimestamp()
                                     : sandbox::now_rfc3339());
    }));
  }

  Result<void> remove(const std::string& ns, const std::string& name) override {
    const auto lock = TRY(store_.lock());
    const objects::Key key{"Gateway", ns, name};
    if (!TRY(store_.get(key))) return fail(Code::kNotFound, "there is no Gateway " + name);
    return store_.remove(key);
  }

  Result<Tree> labels_of(const std::string& ns) override {
    const auto object = TRY(named(ns));
    Tree labels = Tree::map();
    for (const auto& [key, value] : object->metadata().labels()) labels.add(key, Tree::of(value));
    return labels;
  }

  Result<void> label(const std::string& ns, const std::string& key,
                     const std::string& value) override {
    const auto lock = TRY(store_.lock());
    const auto object = TRY(named(ns));
    return store_.put(*sandbox::with_metadata(*object, [&](crd::core::ObjectMeta& meta) {
      if (value.empty()) {
        meta.mutable_labels()->erase(key);
      } else {
        (*meta.mutable_labels())[key] = value;
      }
    }));
  }

 private:
  Result<sandbox::ObjectPtr> named(const std::string& ns) const {
    auto object = TRY(store_.get({"Namespace", "", ns}));
    if (!object) return fail(Code::kNotFound, "there is no namespace \"" + ns + "\"");
    return object;
  }

  const sandbox::Store store_;
};

}  // namespace

Result<std::unique_ptr<WaypointPlace>> open_waypoint_place(const Flags& flags) {
  if (!flags.has("sandbox")) return std::make_unique<OnCluster>(flags);
  const auto layout = TRY(sandbox::Layout::make(flags.get("sandbox")));
  TRY(sandbox::need_up(layout));
  return std::make_unique<InSandbox>(layout);
}

}  // namespace weft::cli
