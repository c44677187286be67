// A program around source::kube, for test_api.py: mirrors an API server and says what it has.
//   kube_mirror --kubeconfig FILE --socket PATH [--node NAME]
// GET /objects (one JSON a line), /facts; POST /annotate, /status with JSON bodies.
#include "agent/objects/tree.h"
#include "agent/source/kube/kube_source.h"
#include "ztunnel/base/flags.h"
#include "ztunnel/base/log.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/socket.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <csignal>
#include <cstdio>
#include <map>

namespace weft::tests {
namespace {

using objects::Tree;
using runtime::Task;

const std::vector<Flag> kFlags = {
    {.name = "kubeconfig", .value = "FILE"},
    {.name = "in-cluster", .value = "FOLDER", .help = "a service account's, beside the variables"},
    {.name = "socket", .value = "PATH", .kind = Flag::Kind::kRequired},
    {.name = "node", .value = "NAME", .help = "mirror what a node's agent reads"},
    {.name = "quiet", .help = "keep no objects, to measure", .kind = Flag::Kind::kSwitch}};

class Mirroring {
 public:
  Mirroring(runtime::Loop& loop, const Flags& flags, source::kube::ApiConfig config)
      : loop_(loop),
        quiet_(flags.has("quiet")),
        client_(source::kube::ApiClient::make(loop, std::move(config))),
        source_(source::kube::make_kube_source(
            *client_, flags.has("node") ? source::kube::node_resources(flags.get("node"))
                                        : source::kube::control_resources("istio-system"))),
        statuses_(source::kube::make_kube_status_writer(*client_, *source_)) {}

  Task<void> run(Fd signals, Fd listener) {
    runtime::TaskScope tasks;
    runtime::Acceptor acceptor(loop_, listener.get(),
                               [this](Fd connection) { return serve(std::move(connection)); });
    tasks.spawn(acceptor.run());
    tasks.spawn(statuses_->run());
    tasks.spawn(source_->watch([this](std::vector<source::Change> changes) { apply(changes); },
                               [this](const Error& error) { errors_.push_back(error); }));
    co_await loop_.poll(signals.get(), POLLIN);
    source_->stop();
    statuses_->stop();
    acceptor.stop();
    co_await client_->stop();
    co_await tasks.join();
    loop_.stop();
  }

 private:
  void apply(const std::vector<source::Change>& changes) {
    ++batches_;
    changes_ += changes.size();
    if (batches_ == 1) first_ = changes.size();
    for (const source::Change& change : changes) {
      if (!change.object) {
        objects_.erase(change.key);
      } else if (!quiet_) {
        objects_[change.key] = change.object;
      }
    }
  }

  Task<void> serve(Fd connection) {
    const http::Handler handler = [this](http::Request request) {
      return answer(std::move(request));
    };
    co_await http::serve_http1(
        loop_, std::make_unique<runtime::SocketStream>(loop_, std::move(connection)), handler);
  }

  std::string facts() const {
    Tree facts = Tree::map();
    facts.add("batches", Tree::of(static_cast<int64_t>(batches_)));
    facts.add("changes", Tree::of(static_cast<int64_t>(changes_)));
    facts.add("first", Tree::of(static_cast<int64_t>(first_)));
    facts.add("statuses", Tree::of(static_cast<int64_t>(statuses_->written())));
    Tree lists = Tree::map();
    for (const auto& [plural, count] : source_->lists()) {
      lists.add(plural, Tree::of(static_cast<int64_t>(count)));
    }
    facts.add("lists", std::move(lists));
    Tree errors = Tree::list();
    for (const Error& error : errors_) errors.items.push_back(Tree::of(error.to_string()));
    facts.add("errors", std::move(errors));
    return objects::write_json(facts);
  }

  Task<http::Response> answer(http::Request request) {
    http::Response response;
    if (request.path == "/facts") {
      response.body = facts();
    } else if (request.path == "/objects") {
      for (const auto& [key, object] : objects_) {
        response.body +=
            "{\"key\":\"" + key.to_string() + "\",\"object\":" + objects::to_json(*object) + "}\n";
      }
    } else if (const auto asked = Tree(objects::parse_json(request.body).value_or(Tree()));
               request.path == "/annotate") {
      const auto text = [&](const char* name) { return std::string(asked.text_of(name)); };
      const auto done = co_await source_->annotate_pod(text("namespace"), text("name"), text("uid"),
                                                       text("key"), text("value"));
      response.body = done ? "done" : done.error().to_string();
    } else if (request.path == "/status") {
      const objects::Key key{std::string(asked.text_of("kind")),
                             std::string(asked.text_of("namespace")),
                             std::string(asked.text_of("name"))};
      const auto done = statuses_->write(key, {{.type = "ZtunnelAccepted",
                                                .is_true = asked.text_of("status") == "True",
                                                .reason = std::string(asked.text_of("reason")),
                                                .message = "said by a test"}});
      response.body = done ? "queued" : done.error().to_string();
    } else {
      response.status = 404;
    }
    co_return response;
  }

  runtime::Loop& loop_;
  bool quiet_;
  std::unique_ptr<source::kube::ApiClient> client_;
  std::unique_ptr<source::kube::KubeSource> source_;
  std::unique_ptr<source::kube::KubeStatusWriter> statuses_;
  std::map<objects::Key, std::shared_ptr<const objects::Object>> objects_;
  std::vector<Error> errors_;
  size_t batches_ = 0;
  size_t changes_ = 0;
  size_t first_ = 0;
};

Result<void> run(const std::vector<std::string>& args) {
  const Flags flags = TRY(Flags::parse(args, kFlags));
  auto config =
      TRY(flags.has("kubeconfig") ? source::kube::kubeconfig(flags.get("kubeconfig")) : [&] {
        auto environment = source::kube::Environment::of_process();
        environment.service_account_folder = flags.get("in-cluster");
        return source::kube::in_cluster_config(environment);
      }());
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  Fd ended(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
  const auto loop = TRY(runtime::Loop::create_best());
  Fd listener = TRY(runtime::listen_unix(flags.get("socket"), 0600));
  Mirroring mirroring(*loop, flags, std::move(config));
  loop->spawn(mirroring.run(std::move(ended), std::move(listener)));
  loop->run();
  return {};
}

}  // namespace
}  // namespace weft::tests

int main(int argc, char** argv) {
  const auto done = weft::tests::run({argv + 1, argv + argc});
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().to_string().c_str());
  return 1;
}
