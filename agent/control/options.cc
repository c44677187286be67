#include "agent/control/options.h"

#include <cstdlib>

namespace weft::control {
namespace {

using Kind = Flag::Kind;

constexpr const char* kProbesOnCluster = "0.0.0.0:8080";    // as Istio's
constexpr const char* kMetricsOnCluster = "0.0.0.0:15014";  // as Istio's

Result<SocketAddress> address_of(const std::string& flag, const std::string& text) {
  auto address = SocketAddress::parse(text);
  if (!address) return Fail(std::move(address.error()).in("--" + flag));
  return address;
}

// Not given: none; on a cluster, the port that Istio's has.
Result<std::optional<SocketAddress>> endpoint_of(const Flags& flags, const std::string& flag,
                                                 const char* on_cluster, bool is_on_cluster) {
  const std::string& given = flags.get(flag);
  if (given.empty() && !is_on_cluster) return std::nullopt;
  return TRY(address_of(flag, given.empty() ? on_cluster : given));
}

Result<void> read_cluster_flags(const Flags& flags, const Options::Variable& variable,
                                Options& options) {
  const auto given_or = [&](const char* flag, const char* name) {
    return flags.get(flag).empty() ? variable(name) : flags.get(flag);
  };
  options.ns = given_or("namespace", "POD_NAMESPACE");
  options.replica = given_or("replica", "POD_NAME");
  options.revision = flags.get("revision");
  options.ca_secret = flags.get("ca-secret");
  options.trusted_node_accounts = flags.list("trusted-node-accounts");
  options.waypoint_image = flags.get("waypoint-image");
  options.waypoint_pull_policy = flags.get("waypoint-pull-policy");
  options.waypoint_pull_secrets = flags.list("waypoint-pull-secrets");
  options.waypoint_flags = flags.list("waypoint-flags");
  if (options.ns.empty()) {
    return fail(Code::kInvalid, "--namespace: expected control's own, or POD_NAMESPACE set");
  }
  if (options.replica.empty()) {
    return fail(Code::kInvalid, "--replica: expected a name of this process's, or POD_NAME set");
  }
  for (const std::string& account : options.trusted_node_accounts) {
    const size_t slash = account.find('/');
    const bool is_pair = slash != std::string::npos && slash > 0 && slash + 1 < account.size() &&
                         account.find('/', slash + 1) == std::string::npos;
    if (!is_pair) {
      return fail(Code::kInvalid,
                  "--trusted-node-accounts: expected NAMESPACE/NAME, got \"" + account + "\"");
    }
  }
  if (options.trusted_node_accounts.empty()) {
    options.trusted_node_accounts.push_back(options.ns + "/weft-ztunnel");
  }
  options.mesh.config_namespace = options.ns;
  if (!options.revision.empty()) options.mesh.config_map += "-" + options.revision;
  return {};
}

}  // namespace

const std::vector<Flag>& Options::known_flags() {
  static const std::vector<Flag> kFlags = {
      {.name = "objects", .value = "DIR", .help = "the manifests, one object or several a file"},
      {.name = "kubeconfig", .value = "FILE", .help = "the API server that has the objects"},
      {.name = "context", .value = "NAME", .help = "of the kubeconfig (its current-context)"},
      {.name = "in-cluster",
       .help = "the API server of the pod that this runs in",
       .kind = Kind::kSwitch},
      {.name = "state",
       .value = "DIR",
       .help = "where the root key and certificate are kept",
       .kind = Kind::kRequired},
      {.name = "ca-certs",
       .value = "DIR",
       .help = "your own CA: ca-key.pem, ca-cert.pem, cert-chain.pem, root-cert.pem"},
      {.name = "listen",
       .value = "IP:PORT",
       .help = "where nodes fetch configuration and certificates",
       .fallback = "0.0.0.0:15012"},
      {.name = "server-name",
       .value = "NAME[,NAME..]",
       .help = "DNS names and IP addresses by which nodes know control",
       .kind = Kind::kRequired},
      {.name = "token-key",
       .value = "PUBLIC.pem",
       .help = "with --objects: the key that nodes' tokens are signed with"},
      {.name = "namespace",
       .value = "NAME",
       .help = "of control on its cluster: its Lease, Secret and ConfigMap (POD_NAMESPACE)"},
      {.name = "replica", .value = "NAME", .help = "of several, this one (POD_NAME)"},
      {.name = "revision",
       .value = "NAME",
       .help = "act only on objects with this label istio.io/rev"},
      {.name = "trusted-node-accounts",
       .value = "NS/NAME[,..]",
       .help = "who may ask for what their node runs (weft-ztunnel of --namespace)"},
      {.name = "waypoint-image",
       .value = "IMAGE",
       .help = "of weft-ztunnel: control makes waypoints of Gateways with it"},
      {.name = "waypoint-pull-policy", .value = "POLICY", .help = "of that image"},
      {.name = "waypoint-pull-secrets",
       .value = "NAME[,..]",
       .help = "for that image, of a waypoint's own namespace"},
      {.name = "waypoint-flags",
       .value = "--NAME=VALUE[,..]",
       .help = "more flags of weft-ztunnel waypoint"},
      {.name = "ca-secret",
       .value = "NAME",
       .help = "your own CA, where this Secret of --namespace is there"},
      {.name = "serving-cert",
       .value = "DIR",
       .help = "sign nothing, another CA does; serve with tls.crt and tls.key from here"},
      {.name = "probes", .value = "IP:PORT", .help = "GET /ready (on a cluster 0.0.0.0:8080)"},
      {.name = "metrics", .value = "IP:PORT", .help = "GET /metrics (on a cluster 0.0.0.0:15014)"},
      {.name = "admin-socket",
       .value = "PATH",
       .help = "a unix socket that answers GET /status",
       .kind = Kind::kRequired},
      {.name = "trust-domain",
       .value = "NAME",
       .help = "of the identities that are signed",
       .fallback = "cluster.local"},
      {.name = "trust-domain-aliases",
       .value = "NAME,..",
       .help = "principals of the trust domain mean these, too"},
      {.name = "cluster-id",
       .value = "NAME",
       .help = "the first part of workloads' names",
       .fallback = "Kubernetes"},
      {.name = "root-namespace",
       .value = "NAME",
       .help = "its policies are the whole mesh's",
       .fallback = "istio-system"},
  };
  return kFlags;
}

std::string Options::process_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Result<Options> Options::from(const Flags& flags, const Variable& variable) {
  Options options;
  options.objects_folder = flags.get("objects");
  options.api_server = {.kubeconfig = flags.get("kubeconfig"),
                        .context = flags.get("context"),
                        .in_cluster = flags.has("in-cluster")};
  TRY(source::kube::check_one_source(options.objects_folder, options.api_server));
  options.state_folder = flags.get("state");
  options.ca_certs_folder = flags.get("ca-certs");
  options.serving_cert_folder = flags.get("serving-cert");
  if (!options.ca_certs_folder.empty() && !options.serving_cert_folder.empty()) {
    return fail(Code::kInvalid, "--serving-cert: with --ca-certs control signs: expected only one");
  }
  options.listen = TRY(address_of("listen", flags.get("listen")));
  options.server_names = flags.list("server-name");
  options.token_key_file = flags.get("token-key");
  const bool is_on_cluster = options.api_server.is_given();
  if (is_on_cluster == !options.token_key_file.empty()) {
    return fail(Code::kInvalid, is_on_cluster ? "--token-key: the API server judges tokens"
                                              : "--token-key: is required with --objects");
  }
  options.admin_socket = flags.get("admin-socket");
  options.probes = TRY(endpoint_of(flags, "probes", kProbesOnCluster, is_on_cluster));
  options.metrics = TRY(endpoint_of(flags, "metrics", kMetricsOnCluster, is_on_cluster));
  options.mesh.trust_domain = flags.get("trust-domain");
  options.mesh.trust_domain_aliases = flags.list("trust-domain-aliases");
  options.mesh.cluster_id = flags.get("cluster-id");
  options.mesh.root_namespace = flags.get("root-namespace");
  if (is_on_cluster) TRY(read_cluster_flags(flags, variable, options));
  if (options.server_names.empty()) {
    return fail(Code::kInvalid, "--server-name: expected at least one name");
  }
  const SpiffeId example{options.mesh.trust_domain, "ns", "sa"};
  if (!SpiffeId::parse(example.to_string())) {
    return fail(Code::kInvalid,
                "--trust-domain: expected letters, digits, '.', '-' and '_', got \"" +
                    options.mesh.trust_domain + "\"");
  }
  return options;
}

}  // namespace weft::control
