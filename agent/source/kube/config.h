#pragma once

#include "ztunnel/base/result.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace weft::source::kube {

// Bytes that are written in the configuration, or in a file that may be replaced at any time
// (projected tokens and kubelet's certificates are): such a file is read again for every use.
struct Text {
  std::string value;
  std::string file;  // where it is not empty, it counts

  bool is_given() const { return !value.empty() || !file.empty(); }
  // Names the file. At most 1 MiB.
  Result<std::string> read() const;
};

// A program that prints credentials (client.authentication.k8s.io ExecCredential).
struct ExecPlugin {
  std::string command;  // with its folder, or found by PATH
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;  // beside our own
  std::string api_version;                                       // ".../v1" or ".../v1beta1"
  std::string install_hint;
  bool provide_cluster_info = false;
};

// How to reach an API server, and who we are to it. A plain value; checked as far as it can be
// without asking the server.
struct ApiConfig {
  std::string origin;  // for messages: "kubeconfig /root/.kube/config, context dev"
  std::string host;    // a DNS name or an IP address, without brackets
  uint16_t port = 443;
  std::string path_prefix;  // "" or "/k8s/clusters/c-1", without a slash at its end
  std::string server_name;  // that its certificate must carry; empty: host
  Text roots;               // PEM; not given: the system's
  bool verify_server = true;
  std::string ns = "default";  // where the configuration says we are at home

  // At most one way to prove who we are; a certificate may stand beside a token.
  Text client_certificate;  // PEM, with its chain
  Text client_key;          // PEM
  Text token;
  std::optional<ExecPlugin> exec;

  // "10.0.0.1:6443", "[fd00::1]:6443", "example.com": what goes into :authority.
  std::string authority() const;
};

// What a process is told by its environment; tests give their own.
struct Environment {
  std::function<std::string(const std::string& name)> variable;  // empty: not set
  std::string service_account_folder = "/var/run/secrets/kubernetes.io/serviceaccount";
  static Environment of_process();
};

// Inside a pod: KUBERNETES_SERVICE_HOST and _PORT, and the pod's service account.
Result<ApiConfig> in_cluster_config(const Environment& environment = Environment::of_process());

// A kubeconfig file. `context` empty: its current-context. Paths in it are relative to its folder.
// Errors name the file, the field and what to do.
Result<ApiConfig> kubeconfig(const std::string& file, const std::string& context = {});

// What the flags --kubeconfig FILE, --context NAME and --in-cluster ask for.
struct ConfigFlags {
  std::string kubeconfig;
  std::string context;
  bool in_cluster = false;

  bool is_given() const { return in_cluster || !kubeconfig.empty(); }
};
// Whether they, or --objects DIR beside them, name exactly one place where objects come from.
Result<void> check_one_source(const std::string& objects_folder, const ConfigFlags& flags);
Result<ApiConfig> load_config(const ConfigFlags& flags);

}  // namespace weft::source::kube
