// How control is put together: Control::create and what it opens.

#include "agent/control/parts.h"
#include "agent/identity/key_files.h"
#include "agent/identity/token.h"
#include "ztunnel/base/check.h"
#include "ztunnel/base/log.h"

#include <google/protobuf/util/json_util.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <cerrno>

namespace weft::control {
namespace {

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

Result<Fd> listen_admin(runtime::Loop& loop, const std::string& path) {
  Result<Fd> listener;
  loop.spawn(listen_when_free(loop, path, listener));
  loop.run();
  return listener;
}

google::protobuf::Value value_from(const std::string& json) {
  google::protobuf::Value value;
  CHECK(google::protobuf::util::JsonStringToMessage(json, &value).ok());
  return value;
}

// What a waypoint's pods run on a cluster: they mount a token for us, and the roots that are in
// every namespace.
kube::WaypointOptions waypoint_options(const Options& options) {
  kube::WaypointOptions made;
  compile::WaypointProgram& program = made.program;
  program.image = options.waypoint_image;
  program.image_pull_policy = options.waypoint_pull_policy;
  program.command = {"weft-ztunnel"};
  program.flags = {"--control-name=" + options.server_names.front(),
                   "--control-roots=/var/run/secrets/istio/root-cert.pem",
                   "--token=/var/run/secrets/tokens/istio-token",
                   "--trust-domain=" + options.mesh.trust_domain,
                   "--cluster-id=" + options.mesh.cluster_id,
                   "--cluster-domain=" + options.mesh.cluster_domain};
  std::string aliases;
  for (const std::string& alias : options.mesh.trust_domain_aliases) {
    aliases += (aliases.empty() ? "" : ",") + alias;
  }
  if (!aliases.empty()) program.flags.push_back("--trust-domain-aliases=" + aliases);
  program.flags.insert(program.flags.end(), options.waypoint_flags.begin(),
                       options.waypoint_flags.end());
  program.volumes =
      value_from(R"([{"name":"istio-token","projected":{"sources":[{"serviceAccountToken":)"
                 R"({"path":"istio-token","expirationSeconds":43200,"audience":"istio-ca"}}]}},)"
                 R"({"name":"istio-ca-root-cert","configMap":{"name":"istio-ca-root-cert"}}])");
  program.volume_mounts = value_from(
      R"([{"name":"istio-token","mountPath":"/var/run/secrets/tokens","readOnly":true},)"
      R"({"name":"istio-ca-root-cert","mountPath":"/var/run/secrets/istio","readOnly":true}])");
  program.resources = value_from(
      R"({"requests":{"cpu":"100m","memory":"128Mi"},"limits":{"cpu":"2","memory":"1Gi"}})");
  for (const std::string& secret : options.waypoint_pull_secrets) {
    auto& one = *program.image_pull_secrets.mutable_list_value()->add_values();
    (*one.mutable_struct_value()->mutable_fields())["name"].set_string_value(secret);
  }
  // "weft-control.<namespace>.svc" names the Service that nodes know control by.
  const std::string& host = options.server_names.front();
  made.control_service = {"Service", options.ns, host.substr(0, host.find('.'))};
  made.claims_istio_class = options.revision.empty();
  return made;
}

}  // namespace

Result<std::unique_ptr<Control>> Control::create(const Options& options) {
  std::unique_ptr<Control> control(new Control(std::make_unique<Parts>(options)));
  Parts& parts = *control->parts_;
  parts.loop = TRY(runtime::Loop::create_best());
  parts.signals = TRY(open_signals());
  if (options.api_server.is_given()) {
    TRY(control->open_cluster());
  } else {
    TRY(control->open_folder());
  }
  parts.xds = std::make_unique<xds::Server>(
      parts.authenticator, [&mesh = parts.mesh](const identity::Caller& caller) {
        const auto [ns, account] = identity::account_of(caller.subject);
        return mesh.waypoint_of(std::string(ns), std::string(account));
      });
  TRY(control->open_endpoints());
  if (parts.authority || !options.serving_cert_folder.empty()) TRY(control->open_service());
  return control;
}

Result<void> Control::open_folder() {
  const Options& options = parts_->options;
  TRY(check_folder(options.objects_folder));
  parts_->authenticator = TRY(identity::load_verifier(options.token_key_file));
  parts_->folder = TRY(source::make_folder_source(*parts_->loop, options.objects_folder));
  parts_->folder_statuses = source::make_folder_status_writer(options.objects_folder);
  parts_->source = parts_->folder.get();
  parts_->statuses = parts_->folder_statuses.get();
  if (!options.serving_cert_folder.empty()) return {};
  if (!options.ca_certs_folder.empty()) return open_plugged();
  parts_->authority =
      TRY(identity::Authority::open(options.state_folder, options.mesh.trust_domain));
  return {};
}

Result<void> Control::open_plugged() {
  const Options& options = parts_->options;
  auto plugged =
      identity::PluggedAuthority::open(options.ca_certs_folder, options.mesh.trust_domain);
  if (!plugged) return Fail(std::move(plugged.error()).in("--ca-certs"));
  parts_->plugged = plugged->get();
  parts_->authority = std::move(*plugged);
  return {};
}

Result<void> Control::open_cluster() {
  const Options& options = parts_->options;
  kube::ClusterOptions wanted{
      .api_server = options.api_server,
      .ns = options.ns,
      .replica = options.replica,
      .node_proxies = {},
      .keeps_root = options.ca_certs_folder.empty() && options.serving_cert_folder.empty(),
      .ca_secret = options.ca_secret,
      .mesh = options.mesh,
      .waypoints = waypoint_options(options)};
  for (const std::string& account : options.trusted_node_accounts) {
    const size_t slash = account.find('/');
    wanted.node_proxies.insert(
        identity::subject_of(account.substr(0, slash), account.substr(slash + 1)));
  }
  parts_->cluster = TRY(kube::Cluster::open(
      *parts_->loop, wanted,
      {.on_authority = [this](auto authority) { take_authority(std::move(authority)); },
       .on_authority_change = [this] { authority_changed("its Secret"); },
       .on_error = [this](const Error& error) { parts_->source_errors.add(error); }}));
  parts_->authenticator = parts_->cluster->authenticator();
  parts_->source = &parts_->cluster->source();
  parts_->statuses = &parts_->cluster->statuses();
  if (options.ca_certs_folder.empty()) return {};
  return open_plugged();
}

Result<void> Control::open_endpoints() {
  Parts& parts = *parts_;
  const auto add = [&](std::unique_ptr<Endpoint> endpoint) {
    parts.endpoints.push_back(std::move(endpoint));
  };
  auto admin = TRY(listen_admin(*parts.loop, parts.options.admin_socket));
  add(std::make_unique<Endpoint>(*parts.loop, std::move(admin), [this](http::Request request) {
    return answer_admin(std::move(request));
  }));
  if (parts.options.probes) {
    add(TRY(Endpoint::listen(*parts.loop, *parts.options.probes, [this](http::Request request) {
      return answer_probe(std::move(request));
    })));
  }
  if (parts.options.metrics) {
    add(TRY(Endpoint::listen(*parts.loop, *parts.options.metrics, [this](http::Request request) {
      return answer_metrics(std::move(request));
    })));
  }
  return {};
}

// Everything that needs control's own certificate: the port.
Result<void> Control::open_service() {
  Parts& parts = *parts_;
  if (parts.authority) {
    TRY(open_ca());
    parts.grpc = TRY(GrpcServer::start(parts.options.listen, parts.tls->credentials(),
                                       {&parts.xds->service(), parts.ca.get()}));
  } else {
    const auto credentials = TRY(credentials_from(parts.options.serving_cert_folder));
    parts.grpc = TRY(GrpcServer::start(parts.options.listen, credentials, {&parts.xds->service()}));
  }
  parts.is_serving = true;
  log::info("control")
      .field("listen", parts.grpc.address().to_string())
      .field("trust_domain", parts.options.mesh.trust_domain)
      .field("signs", parts.authority ? "yes" : "no")
      .say("control is up");
  return {};
}

Result<void> Control::open_ca() {
  Parts& parts = *parts_;
  TRY(identity::open_locked_folder(parts.options.state_folder));  // made, where it is not there
  TRY(publish_roots());
  parts.tls = TRY(
      ServerTls::create(*parts.authority, parts.options.server_names, parts.options.state_folder));
  parts.ca =
      std::make_unique<CaService>(*parts.authority, parts.authenticator,
                                  [&mesh = parts.mesh](const auto& node, const auto& identity) {
                                    return mesh.placement(node, identity);
                                  });
  renew_later();
  return {};
}

// To whoever shall trust this CA.
Result<void> Control::publish_roots() {
  const std::string roots = parts_->authority->roots_pem();
  if (parts_->cluster) parts_->cluster->set_roots(roots);
  return replace_file(parts_->options.state_folder + "/" + kRootsFile, roots, 0644, Durable::kYes);
}

}  // namespace weft::control
