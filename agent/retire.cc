#include "agent/retire.h"

#include "agent/source/kube/api_client.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/runtime/sync.h"

#include <algorithm>
#include <cstdio>

namespace weft {
namespace {

using objects::Tree;
using runtime::Task;
using source::kube::ApiClient;

constexpr const char* kRetire = "--retire";
constexpr std::chrono::milliseconds kLook{500};

const Tree& at(const Tree& tree, std::string_view name) {
  static const Tree kNothing;
  const Tree* found = tree.find(name);
  return found == nullptr ? kNothing : *found;
}

const Tree& arguments_of(const Tree& daemonset) {
  static const Tree kNothing;
  const Tree& containers = at(at(at(at(daemonset, "spec"), "template"), "spec"), "containers");
  return containers.items.empty() ? kNothing : at(containers.items.front(), "args");
}

Tree step(const char* operation, const char* path, Tree value) {
  Tree tree = Tree::map();
  tree.add("op", Tree::of(operation));
  tree.add("path", Tree::of(path));
  tree.add("value", std::move(value));
  return tree;
}

struct Retirement {
  std::string path;  // of the DaemonSet
  std::chrono::seconds patience;
  Rollout rollout;
  Result<void> done;
};

Task<Result<Tree>> get(ApiClient& client, std::string path) {
  const auto answer = co_await client.request({.path = path});
  if (!answer) co_return Fail(answer.error());
  if (answer->status == 404) co_return Tree();  // nothing was ever installed
  const std::string body = CO_TRY(source::kube::body_of(*answer));
  co_return objects::parse_json(body);
}

Task<Result<void>> retire(ApiClient& client, Retirement& retirement) {
  Tree daemonset = CO_TRY(co_await get(client, retirement.path));
  if (daemonset.is_null()) co_return Result<void>{};
  const std::string patch = retiring_patch(daemonset);
  if (!patch.empty()) {
    const auto answer = co_await client.request({.method = "PATCH",
                                                 .path = retirement.path,
                                                 .body = patch,
                                                 .content_type = "application/json-patch+json"});
    CO_TRY(source::kube::body_of(answer));
  }
  const auto end = client.loop().now() + retirement.patience;
  while (client.loop().now() < end) {
    const auto now = co_await get(client, retirement.path);
    if (now) retirement.rollout = rollout_of(*now);
    if (now && retirement.rollout.is_complete()) co_return Result<void>{};
    co_await client.loop().sleep(kLook);
  }
  co_return fail(Code::kTimeout,
                 std::to_string(retirement.rollout.done) + " of " +
                     std::to_string(retirement.rollout.wanted) +
                     " nodes were given back in time; uninstall again, or with --no-hooks to leave "
                     "the others as they are");
}

Task<void> run(ApiClient& client, Retirement& retirement) {
  retirement.done = co_await retire(client, retirement);
  co_await client.stop();
  client.loop().stop();
}

Result<void> retire_all(const Flags& flags) {
  const source::kube::ConfigFlags api_server{.kubeconfig = flags.get("kubeconfig"),
                                             .context = flags.get("context"),
                                             .in_cluster = flags.has("in-cluster")};
  if (!api_server.is_given()) {
    return fail(Code::kInvalid, "--in-cluster or --kubeconfig: expected one of them");
  }
  auto config = TRY(source::kube::load_config(api_server));
  const int64_t patience_s = TRY(flags.number("timeout", 1, 24 * 3600));
  const auto loop = TRY(runtime::Loop::create_best());
  const auto client = ApiClient::make(*loop, std::move(config));
  Retirement retirement{.path = "/apis/apps/v1/namespaces/" +
                                source::kube::escape(flags.get("namespace")) + "/daemonsets/" +
                                source::kube::escape(flags.get("daemonset")),
                        .patience = std::chrono::seconds(patience_s),
                        .rollout = {},
                        .done = {}};
  loop->spawn(run(*client, retirement));
  loop->run();
  return retirement.done;
}

}  // namespace

std::string retiring_patch(const Tree& daemonset) {
  const auto& arguments = arguments_of(daemonset).items;
  if (std::ranges::any_of(arguments, [](const Tree& one) { return one.text == kRetire; }))
    return {};
  Tree rolling = Tree::map();
  rolling.add("maxUnavailable", Tree::of("100%"));
  Tree strategy = Tree::map();
  strategy.add("type", Tree::of("RollingUpdate"));
  strategy.add("rollingUpdate", std::move(rolling));
  Tree patch = Tree::list();
  patch.items.push_back(step("add", "/spec/template/spec/containers/0/args/-", Tree::of(kRetire)));
  patch.items.push_back(step("add", "/spec/updateStrategy", std::move(strategy)));
  return write_json(patch);
}

Rollout rollout_of(const Tree& daemonset) {
  const Tree& status = at(daemonset, "status");
  return {.wanted = at(status, "desiredNumberScheduled").integer,
          .done = std::min(at(status, "updatedNumberScheduled").integer,
                           at(status, "numberReady").integer),
          .is_seen = at(status, "observedGeneration").integer >=
                     at(at(daemonset, "metadata"), "generation").integer};
}

int run_retire(const std::vector<std::string>& args) {
  const std::vector<Flag> known = {
      {.name = "in-cluster",
       .help = "the API server of the pod that this runs in",
       .kind = Flag::Kind::kSwitch},
      {.name = "kubeconfig", .value = "FILE", .help = "the API server, from outside"},
      {.name = "context", .value = "NAME", .help = "of the kubeconfig (its current-context)"},
      {.name = "namespace",
       .value = "NAME",
       .help = "of the DaemonSet",
       .fallback = "istio-system"},
      {.name = "daemonset",
       .value = "NAME",
       .help = "of the node agents",
       .fallback = "weft-agent"},
      {.name = "timeout", .value = "SECONDS", .help = "how long to wait", .fallback = "120"}};
  const auto flags = Flags::parse(args, known);
  if (flags && flags->help()) {
    std::fputs(Flags::help_text("weft-agent retire", known).c_str(), stdout);
    return 0;
  }
  const Result<void> done = flags ? retire_all(*flags) : Result<void>(Fail(flags.error()));
  if (done) return 0;
  std::fprintf(stderr, "weft-agent retire: %s\n", done.error().to_string().c_str());
  return 1;
}

}  // namespace weft
