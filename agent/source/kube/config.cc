#include "agent/source/kube/config.h"

#include "ztunnel/base/file.h"
#include "ztunnel/base/ip.h"

#include <charconv>
#include <cstdlib>

namespace weft::source::kube {

Result<std::string> Text::read() const {
  if (file.empty()) return value;
  return read_small_file(file);
}

std::string ApiConfig::authority() const {
  const bool is_v6 = host.contains(':');
  const std::string name = is_v6 ? "[" + host + "]" : host;
  return port == 443 ? name : name + ":" + std::to_string(port);
}

Environment Environment::of_process() {
  return {.variable = [](const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return std::string(value != nullptr ? value : "");
  }};
}

Result<ApiConfig> in_cluster_config(const Environment& environment) {
  ApiConfig config;
  config.origin = "the pod's service account";
  config.host = environment.variable("KUBERNETES_SERVICE_HOST");
  const std::string port = environment.variable("KUBERNETES_SERVICE_PORT");
  if (config.host.empty() || port.empty()) {
    return fail(Code::kNotFound,
                "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this process "
                "does not run in a pod; give it --kubeconfig FILE");
  }
  const auto parsed = std::from_chars(port.data(), port.data() + port.size(), config.port);
  if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size() || config.port == 0) {
    return fail(Code::kInvalid, "KUBERNETES_SERVICE_PORT: expected a port, got \"" + port + "\"");
  }
  const std::string folder = environment.service_account_folder;
  config.roots.file = folder + "/ca.crt";
  config.token.file = folder + "/token";
  for (const Text* text : {&config.roots, &config.token}) {
    const auto content = text->read();
    if (content) continue;
    return Fail(Error(content.error().code,
                      "the pod has no service account's token to ask the API server with: does its "
                      "spec say automountServiceAccountToken: false?",
                      content.error()));
  }
  if (const auto ns = read_small_file(folder + "/namespace")) config.ns = *ns;
  return config;
}

Result<void> check_one_source(const std::string& objects_folder, const ConfigFlags& flags) {
  const int given = (objects_folder.empty() ? 0 : 1) + (flags.kubeconfig.empty() ? 0 : 1) +
                    (flags.in_cluster ? 1 : 0);
  if (given == 1) {
    if (flags.context.empty() || !flags.kubeconfig.empty()) return {};
    return fail(Code::kInvalid, "--context: only a kubeconfig has contexts; give --kubeconfig");
  }
  return fail(Code::kInvalid,
              std::string(given == 0 ? "where do objects come from? " : "") +
                  "expected exactly one of --objects DIR, --kubeconfig FILE and --in-cluster" +
                  (given == 0 ? "" : ", got " + std::to_string(given)));
}

Result<ApiConfig> load_config(const ConfigFlags& flags) {
  return flags.in_cluster ? in_cluster_config() : kubeconfig(flags.kubeconfig, flags.context);
}

}  // namespace weft::source::kube
