#include "ztunnel/role/common_flags.h"

#include "ztunnel/base/log.h"

#include <chrono>
#include <optional>
#include <string>

namespace weft::role {
namespace {

using runtime::Loop;

// "fd00::1:15012" as "[fd00::1]:15012": what a pod's environment makes of $(HOST):15012 in an IPv6
// cluster.
std::string with_brackets(const std::string& address) {
  const size_t last = address.rfind(':');
  if (last == std::string::npos || address.find(':') == last || address.contains('[')) {
    return address;
  }
  return "[" + address.substr(0, last) + "]" + address.substr(last);
}

}  // namespace

const std::vector<weft::Flag>& common_flags() {
  using Kind = weft::Flag::Kind;
  static const std::vector<weft::Flag> flags{
      {.name = "control",
       .value = "IP:PORT",
       .help = "xDS, and the CA unless --ca-address says otherwise",
       .kind = Kind::kRequired},
      {.name = "control-name",
       .value = "NAME",
       .help = "what control's certificate must prove",
       .kind = Kind::kRequired},
      {.name = "control-roots",
       .value = "FILE",
       .help = "roots to verify control by (PEM)",
       .kind = Kind::kRequired},
      {.name = "ca-address", .value = "IP:PORT", .help = "another server of the CA protocol"},
      {.name = "ca-name",
       .value = "NAME",
       .help = "what its certificate must prove (--control-name)"},
      {.name = "ca-roots",
       .value = "FILE",
       .help = "roots to verify it by, which are the mesh's (--control-roots)"},
      {.name = "token",
       .value = "FILE",
       .help = "bearer token for control",
       .kind = Kind::kRequired},
      {.name = "workers", .value = "N", .help = "worker threads; 0: one a core", .fallback = "0"},
      {.name = "backend", .value = "uring|epoll|best", .help = "event loop", .fallback = "best"},
      {.name = "trust-domain", .value = "NAME", .fallback = "cluster.local"},
      {.name = "trust-domain-aliases",
       .value = "NAME,..",
       .help = "clients of these are accepted, too"},
      {.name = "crl",
       .value = "FILE",
       .help = "certificates in these CRLs (PEM, or one in DER) are refused; followed"},
      {.name = "cluster-id", .value = "NAME", .fallback = "Kubernetes"},
      {.name = "cluster-domain",
       .value = "NAME",
       .help = "the DNS domain of the cluster's services",
       .fallback = "cluster.local"},
      {.name = "network",
       .value = "NAME",
       .help = "ours, where control names networks; workloads of others are refused",
       .fallback = ""},
      {.name = "resolv-conf",
       .value = "FILE",
       .help = "whom to ask for workloads that are host names",
       .fallback = "/etc/resolv.conf"},
      {.name = "certificate-ttl",
       .value = "SECONDS",
       .help = "lifetime to ask the CA for",
       .fallback = "86400"},
      {.name = "drain-time",
       .value = "SECONDS",
       .help = "how long connections may go on after SIGTERM",
       .fallback = "5"},
      {.name = "takeover",
       .help = "another ztunnel serves this network namespace and is about to end: take its ports "
               "when it does",
       .kind = Kind::kSwitch},
      {.name = "log-level", .value = "error|warn|info|debug", .fallback = "info"},
  };
  return flags;
}

Result<void> set_log_level(const Flags& flags) {
  const std::string& name = flags.get("log-level");
  const std::optional<log::Level> level = log::parse_level(name);
  if (!level) {
    return fail(Code::kInvalid,
                "--log-level: expected error, warn, info or debug, got \"" + name + "\"");
  }
  log::set_level(*level);
  return {};
}

Result<std::unique_ptr<Loop>> make_loop(const Flags& flags) {
  const std::string& backend = flags.get("backend");
  if (backend == "best") return Loop::create_best();
  if (backend == "uring") return Loop::create(runtime::Backend::kUring);
  if (backend == "epoll") return Loop::create(runtime::Backend::kEpoll);
  return fail(Code::kInvalid, "--backend: expected uring, epoll or best, got \"" + backend + "\"");
}

Result<learn::LearnerConfig> common_config(const Flags& flags) {
  learn::LearnerConfig config;
  config.cluster_id = flags.get("cluster-id");
  config.network = flags.get("network");
  config.trust_domain = flags.get("trust-domain");
  config.control_address = with_brackets(flags.get("control"));
  config.control_server_name = flags.get("control-name");
  config.control_roots_file = flags.get("control-roots");
  config.ca_address = flags.get("ca-address");
  config.ca_server_name = flags.get("ca-name");
  config.ca_roots_file = flags.get("ca-roots");
  config.token_file = flags.get("token");
  config.crl_file = flags.get("crl");
  config.trust_domain_aliases = flags.list("trust-domain-aliases");
  config.certificate_ttl =
      std::chrono::seconds(TRY(flags.number("certificate-ttl", 1, 90 * 24 * 3600)));
  return config;
}

}  // namespace weft::role
