#include "agent/control/control.h"

#include "agent/compile/notices.h"
#include "agent/control/grpc_server.h"
#include "agent/identity/key_files.h"
#include "agent/source/kube/kube_source.h"
#include "ztunnel/base/log.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

namespace weft::control {
namespace {

using runtime::Task;

// `weft status` and a person with curl; more at once is a mistake.
constexpr size_t kAdminConnectionsMax = 16;
// How long a shutdown waits for calls that are being answered.
constexpr std::chrono::seconds kGrace{1};
// After a failed renewal of the server certificate, which is good for hours yet.
constexpr std::chrono::minutes kRenewalRetry{1};
// How long a stream may outlive its token, and a change of the CA's files go unseen. Both looks
// take well under a millisecond.
constexpr std::chrono::seconds kLookInterval{1};

sigset_t end_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

Result<Fd> open_signals() {
  const sigset_t signals = end_signals();
  Fd fd(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd) return fail_errno(errno, "making a signalfd");
  return fd;
}

Result<void> check_folder(const std::string& folder) {
  struct stat status{};
  if (::stat(folder.c_str(), &status) != 0) return fail_errno(errno, "--objects " + folder);
  if (!S_ISDIR(status.st_mode)) {
    return fail(Code::kInvalid, "--objects " + folder + ": expected a folder");
  }
  return {};
}

// A killed process's io_uring is torn down by the kernel after the process is gone, and its
// listener lives until then: milliseconds. A control that is restarted at once has to outwait that.
runtime::Task<void> listen_when_free(runtime::Loop& loop, const std::string& path,
                                     Result<Fd>& listener) {
  constexpr std::chrono::seconds kPatience{3};
  constexpr std::chrono::milliseconds kPause{20};
  const auto end = loop.now() + kPatience;
  while (true) {
    listener = runtime::listen_unix(path, 0600);
    const bool is_taken = !listener && listener.error().code == Code::kUnavailable;
    if (!is_taken || loop.now() >= end) break;
    co_await loop.sleep(kPause);
  }
  loop.stop();
}

// What nodes trust control and each other by.
Result<void> write_roots(const identity::Authority& authority, const std::string& state_folder) {
  return identity::replace_file(state_folder + "/" + kRootsFile, authority.roots_pem(), 0644);
}

Result<Fd> listen_admin(runtime::Loop& loop, const std::string& path) {
  Result<Fd> listener;
  loop.spawn(listen_when_free(loop, path, listener));
  loop.run();
  return listener;
}

}  // namespace

// In the order in which they are made; what a part uses stands above it.
struct Control::Parts {
  explicit Parts(const Options& with) : options(with), mesh(with.mesh) {}

  Options options;
  Mesh mesh;
  SourceErrors source_errors;
  std::unique_ptr<runtime::Loop> loop;
  Fd signals;
  std::unique_ptr<identity::Authority> authority;
  identity::PluggedAuthority* plugged = nullptr;  // the same, where an operator brings it
  std::shared_ptr<const identity::TokenVerifier> verifier;
  std::unique_ptr<source::kube::ApiClient> api;  // null: objects come from a folder
  std::unique_ptr<source::Source> source;
  std::unique_ptr<source::StatusWriter> statuses;
  source::kube::KubeStatusWriter* kube_statuses = nullptr;  // the same, where it is one
  Fd admin_listener;
  std::unique_ptr<runtime::Acceptor> admin;
  std::unique_ptr<ServerTls> tls;
  std::unique_ptr<xds::Server> xds;
  std::unique_ptr<CaService> ca;
  GrpcServer grpc;
};

Result<void> Control::open_authority(Parts& parts) {
  const Options& options = parts.options;
  if (options.ca_certs_folder.empty()) {
    parts.authority =
        TRY(identity::Authority::open(options.state_folder, options.mesh.trust_domain));
  } else {
    TRY(identity::open_locked_folder(options.state_folder));  // made, where it is not there
    auto plugged =
        identity::PluggedAuthority::open(options.ca_certs_folder, options.mesh.trust_domain);
    if (!plugged) return Fail(std::move(plugged.error()).in("--ca-certs"));
    parts.plugged = plugged->get();
    parts.authority = std::move(*plugged);
  }
  return write_roots(*parts.authority, options.state_folder);
}

Result<void> Control::open_source(Parts& parts) {
  const Options& options = parts.options;
  if (!options.api_server.is_given()) {
    TRY(check_folder(options.objects_folder));
    parts.source = TRY(source::make_folder_source(*parts.loop, options.objects_folder));
    parts.statuses = source::make_folder_status_writer(options.objects_folder);
    return {};
  }
  using namespace source::kube;
  parts.api = ApiClient::make(*parts.loop, TRY(load_config(options.api_server)));
  auto from_server = make_kube_source(*parts.api, control_resources(options.mesh.root_namespace));
  auto statuses = make_kube_status_writer(*parts.api, *from_server);
  parts.kube_statuses = statuses.get();
  parts.statuses = std::move(statuses);
  parts.source = std::move(from_server);
  return {};
}

Control::Control(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Control::~Control() = default;

Result<std::unique_ptr<Control>> Control::create(const Options& options) {
  auto made = std::make_unique<Parts>(options);
  Parts& parts = *made;
  parts.verifier = TRY(identity::load_verifier(options.token_key_file));
  TRY(open_authority(parts));
  parts.tls = TRY(ServerTls::create(*parts.authority, options.server_names, options.state_folder));
  parts.loop = TRY(runtime::Loop::create_best());
  parts.signals = TRY(open_signals());
  TRY(open_source(parts));
  parts.admin_listener = TRY(listen_admin(*parts.loop, options.admin_socket));
  parts.xds = std::make_unique<xds::Server>(parts.verifier);
  parts.ca =
      std::make_unique<CaService>(*parts.authority, parts.verifier,
                                  [&mesh = parts.mesh](const auto& node, const auto& identity) {
                                    return mesh.placement(node, identity);
                                  });
  parts.grpc = TRY(GrpcServer::start(options.listen, parts.tls->credentials(),
                                     {&parts.xds->service(), parts.ca.get()}));

  std::unique_ptr<Control> control(new Control(std::move(made)));
  parts.admin = std::make_unique<runtime::Acceptor>(
      *parts.loop, parts.admin_listener.get(),
      [self = control.get()](Fd connection) { return self->admit(std::move(connection)); });
  return control;
}

void Control::run() {
  log::info("control")
      .field("listen", parts_->grpc.address().to_string())
      .field("trust_domain", parts_->authority->trust_domain())
      .say("control is up");
  parts_->loop->spawn(serve());
  parts_->loop->run();
  parts_->xds->shutdown();
  parts_->grpc.shutdown(kGrace);
  log::info("control").say("control has ended");
}

Task<void> Control::serve() {
  runtime::Loop& loop = *parts_->loop;
  renew_later();
  look_around_later();
  tasks_.spawn(parts_->admin->run());
  tasks_.spawn(
      parts_->source->watch([this](const std::vector<source::Change>& changes) { apply(changes); },
                            [this](const Error& error) { parts_->source_errors.add(error); }));
  if (parts_->kube_statuses != nullptr) tasks_.spawn(parts_->kube_statuses->run());
  co_await loop.poll(parts_->signals.get(), POLLIN);
  loop.unschedule(renewal_);
  loop.unschedule(look_);
  parts_->source->stop();
  if (parts_->kube_statuses != nullptr) parts_->kube_statuses->stop();
  if (parts_->api) tasks_.spawn(parts_->api->stop());
  parts_->admin->stop();
  for (runtime::ByteStream* connection : admin_connections_) connection->abort();
  co_await tasks_.join();
  loop.stop();
}

void Control::apply(const std::vector<source::Change>& changes) {
  const bool is_first = !parts_->mesh.is_known();
  parts_->xds->update(parts_->mesh.apply(changes));
  write_statuses(changes);
  if (!is_first) return;
  parts_->xds->set_ready();
  log::info("control").field("objects", static_cast<int64_t>(changes.size())).say("ready");
}

// Behind the push: nobody is protected by a status.
void Control::write_statuses(const std::vector<source::Change>& changes) {
  for (const source::Change& change : changes) {
    const bool has_one =
        change.key.kind == "AuthorizationPolicy" || change.key.kind == "PeerAuthentication";
    if (!has_one) continue;
    std::vector<source::Condition> conditions;
    if (change.object) conditions = compile::conditions_of(*change.object, parts_->options.mesh);
    const auto written = parts_->statuses->write(change.key, conditions);
    if (written) continue;
    log::warn("control")
        .field("object", change.key.to_string())
        .field("error", written.error().to_string())
        .say("a status was not written");
  }
}

void Control::renew_later() {
  renewal_ = parts_->loop->schedule(ServerTls::renewal_interval(), [this] {
    const auto renewed = parts_->tls->renew();
    if (renewed) return renew_later();
    log::error("control")
        .field("error", renewed.error().to_string())
        .say("control's own certificate was not renewed");
    renewal_ = parts_->loop->schedule(kRenewalRetry, [this] { renew_later(); });
  });
}

void Control::look_around_later() {
  look_ = parts_->loop->schedule(kLookInterval, [this] {
    parts_->xds->end_expired(std::chrono::system_clock::now());
    if (parts_->plugged != nullptr) look_at_ca_files();
    look_around_later();
  });
}

// First control's own certificate, then what nodes trust it by: a node that sees new roots asks for
// new certificates at once.
void Control::look_at_ca_files() {
  const auto changed = parts_->plugged->refresh();
  if (changed && !*changed) return;
  Result<void> done = changed ? parts_->tls->renew() : Result<void>(Fail(changed.error()));
  if (done) done = write_roots(*parts_->authority, parts_->options.state_folder);
  if (done) {
    log::info("control")
        .field("folder", parts_->options.ca_certs_folder)
        .say("the CA's files have changed and are in force");
  } else {
    log::error("control")
        .field("error", done.error().to_string())
        .say("the CA's files have changed and are not in force");
  }
}

Task<void> Control::admit(Fd connection) {
  if (admin_connections_.size() < kAdminConnectionsMax) {
    tasks_.spawn(serve_admin(std::move(connection)));
  }
  co_return;
}

Task<void> Control::serve_admin(Fd connection) {
  runtime::Loop& loop = *parts_->loop;
  auto stream = std::make_unique<runtime::SocketStream>(loop, std::move(connection));
  runtime::ByteStream* const raw = stream.get();
  admin_connections_.insert(raw);
  const http::Handler handler = [this](http::Request request) {
    return answer(std::move(request));
  };
  co_await http::serve_http1(loop, std::move(stream), handler);
  admin_connections_.erase(raw);
}

Task<http::Response> Control::answer(http::Request request) {
  http::Response response;
  if (request.path != "/status") {
    response.status = 404;
    response.body = "known is: /status\n";
  } else if (request.method != "GET" && request.method != "HEAD") {
    response.status = 405;
    response.body = "expected GET\n";
  } else {
    response.content_type = "application/json";
    response.body = to_json(status());
  }
  co_return response;
}

Status Control::status() const {
  const Parts& parts = *parts_;
  Status status;
  status.listen = parts.grpc.address().to_string();
  status.trust_domain = parts.authority->trust_domain();
  status.ready = parts.mesh.is_known();
  status.ca_not_after = parts.authority->not_after();
  status.certificates_issued = parts.ca->issued();
  status.certificates_refused = parts.ca->refused();
  status.nodes = parts.xds->subscribers();
  status.totals = parts.xds->totals();
  status.notices = parts.mesh.notices();
  status.source_errors = parts.source_errors.count();
  const auto& latest = parts.source_errors.latest();
  status.latest_source_errors.assign(latest.begin(), latest.end());
  return status;
}

int run_control(const std::vector<std::string>& args) {
  constexpr const char* kCommand = "weft-agent control";
  const auto complain = [](const Error& error) {
    std::fprintf(stderr, "%s: %s\n", kCommand, error.to_string().c_str());
    return 1;
  };
  const auto flags = Flags::parse(args, Options::known_flags());
  if (!flags) return complain(flags.error());
  if (flags->help()) {
    std::fputs(Flags::help_text(kCommand, Options::known_flags()).c_str(), stdout);
    return 0;
  }
  const auto options = Options::from(*flags);
  if (!options) return complain(options.error());
  const sigset_t signals = end_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  auto control = Control::create(*options);
  if (!control) return complain(control.error());
  (*control)->run();
  return 0;
}

}  // namespace weft::control
