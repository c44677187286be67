#include "agent/control/options.h"

namespace weft::control {
namespace {

using Kind = Flag::Kind;

Result<SocketAddress> listen_address(const Flags& flags) {
  auto address = SocketAddress::parse(flags.get("listen"));
  if (!address) return Fail(std::move(address.error()).in("--listen"));
  return address;
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
       .help = "the key that nodes' tokens are signed with",
       .kind = Kind::kRequired},
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

Result<Options> Options::from(const Flags& flags) {
  Options options;
  options.objects_folder = flags.get("objects");
  options.api_server = {.kubeconfig = flags.get("kubeconfig"),
                        .context = flags.get("context"),
                        .in_cluster = flags.has("in-cluster")};
  TRY(source::kube::check_one_source(options.objects_folder, options.api_server));
  options.state_folder = flags.get("state");
  options.ca_certs_folder = flags.get("ca-certs");
  options.listen = TRY(listen_address(flags));
  options.server_names = flags.list("server-name");
  options.token_key_file = flags.get("token-key");
  options.admin_socket = flags.get("admin-socket");
  options.mesh.trust_domain = flags.get("trust-domain");
  options.mesh.trust_domain_aliases = flags.list("trust-domain-aliases");
  options.mesh.cluster_id = flags.get("cluster-id");
  options.mesh.root_namespace = flags.get("root-namespace");
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
