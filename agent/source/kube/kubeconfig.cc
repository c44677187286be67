#include "agent/objects/tree.h"
#include "agent/source/kube/base64.h"
#include "agent/source/kube/config.h"
#include "ztunnel/base/file.h"
#include "ztunnel/base/ip.h"

#include <charconv>
#include <filesystem>

// Reads what kubectl reads (k8s.io/client-go tools/clientcmd/api/v1). Fields that nobody here knows
// are passed over as kubectl does; those that would change whom we talk to, and that we cannot
// honour, are errors.

namespace weft::source::kube {
namespace {

using objects::Tree;

constexpr const char* kExecGroup = "client.authentication.k8s.io/";

class Reader {
 public:
  Reader(std::string file, const Tree& root) : file_(std::move(file)), root_(root) {}

  Result<ApiConfig> read(std::string context_name);

 private:
  Fail wrong(const std::string& where, const std::string& what) const {
    return fail(Code::kInvalid, "kubeconfig " + file_ + ": " + where + ": " + what);
  }
  Result<const Tree*> named(const char* list, const char* member, const std::string& name) const;
  Result<void> read_server(std::string_view url, const std::string& where);
  Result<void> read_cluster(const Tree& cluster, const std::string& where);
  Result<void> read_user(const Tree& user, const std::string& where);
  Result<void> read_exec(const Tree& exec, const std::string& where);
  Result<Text> text_or_file(const Tree& of, const std::string& where, const char* data_field,
                            const char* file_field) const;
  std::string beside(std::string_view path) const {
    return (std::filesystem::path(file_).parent_path() / path).string();
  }

  std::string file_;
  const Tree& root_;
  ApiConfig config_;
};

bool is_true(const Tree& of, const char* field) {
  const Tree* found = of.find(field);
  return found != nullptr && found->kind == Tree::Kind::kBool && found->boolean;
}

// clusters: [{name: NAME, cluster: {..}}]
Result<const Tree*> Reader::named(const char* list, const char* member,
                                  const std::string& name) const {
  const Tree* all = root_.find(list);
  if (all != nullptr) {
    for (const Tree& one : all->items) {
      if (one.text_of("name") != name) continue;
      const Tree* found = one.find(member);
      if (found != nullptr && found->kind == Tree::Kind::kMap) return found;
      return wrong(std::string(list) + "[" + name + "]." + member, "expected a map");
    }
  }
  return wrong(list, "there is none named \"" + name + "\"");
}

Result<Text> Reader::text_or_file(const Tree& of, const std::string& where, const char* data_field,
                                  const char* file_field) const {
  Text text;
  if (const std::string_view data = of.text_of(data_field); !data.empty()) {
    auto decoded = decode_base64(data);
    if (!decoded) return wrong(where + "." + data_field, "expected base64");
    text.value = std::move(*decoded);
  } else if (const std::string_view path = of.text_of(file_field); !path.empty()) {
    text.file = beside(path);
    const auto content = text.read();
    if (!content) return wrong(where + "." + file_field, content.error().to_string());
  }
  return text;
}

Result<void> Reader::read_server(std::string_view url, const std::string& where) {
  constexpr std::string_view kScheme = "https://";
  const std::string field = where + ".server";
  if (!url.starts_with(kScheme)) {
    return wrong(field, "expected https://HOST[:PORT], got \"" + std::string(url) + "\"");
  }
  std::string_view rest = url.substr(kScheme.size());
  const size_t slash = rest.find('/');
  if (slash != std::string_view::npos) {
    config_.path_prefix = rest.substr(slash);
    while (config_.path_prefix.ends_with('/')) config_.path_prefix.pop_back();
    rest = rest.substr(0, slash);
  }
  const size_t host_end = rest.starts_with('[') ? rest.find(']') : 0;
  const size_t colon = host_end == std::string_view::npos ? host_end : rest.find(':', host_end);
  if (colon != std::string_view::npos) {
    const std::string_view port = rest.substr(colon + 1);
    const auto parsed = std::from_chars(port.data(), port.data() + port.size(), config_.port);
    if (parsed.ec != std::errc() || parsed.ptr != port.data() + port.size() || config_.port == 0) {
      return wrong(field, "expected a port behind the host, got \"" + std::string(port) + "\"");
    }
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  if (rest.empty() || rest.find_first_of("@?# ") != std::string_view::npos) {
    return wrong(field, "expected https://HOST[:PORT], got \"" + std::string(url) + "\"");
  }
  config_.host = rest;
  return {};
}

Result<void> Reader::read_cluster(const Tree& cluster, const std::string& where) {
  TRY(read_server(cluster.text_of("server"), where));
  if (!cluster.text_of("proxy-url").empty()) {
    return wrong(where + ".proxy-url",
                 "proxies are not spoken to; reach the server directly or through a tunnel");
  }
  config_.server_name = cluster.text_of("tls-server-name");
  config_.verify_server = !is_true(cluster, "insecure-skip-tls-verify");
  config_.roots =
      TRY(text_or_file(cluster, where, "certificate-authority-data", "certificate-authority"));
  if (!config_.verify_server && config_.roots.is_given()) {
    return wrong(where + ".insecure-skip-tls-verify",
                 "cannot stand beside a certificate authority: leave one of them out");
  }
  return {};
}

Result<void> Reader::read_exec(const Tree& exec, const std::string& where) {
  ExecPlugin plugin;
  plugin.command = exec.text_of("command");
  if (plugin.command.empty()) return wrong(where + ".command", "expected a program");
  // As kubectl: a path with a slash is relative to the file, a bare name is found by PATH.
  if (plugin.command.contains('/')) plugin.command = beside(plugin.command);
  plugin.api_version = exec.text_of("apiVersion");
  const std::string group = kExecGroup;
  if (plugin.api_version != group + "v1" && plugin.api_version != group + "v1beta1") {
    return wrong(where + ".apiVersion", "expected " + group + "v1 or " + group + "v1beta1, got \"" +
                                            plugin.api_version + "\"");
  }
  if (exec.text_of("interactiveMode") == "Always") {
    return wrong(where + ".interactiveMode",
                 "\"Always\" asks at a terminal, which a service has not; use a token");
  }
  if (const Tree* arguments = exec.find("args")) {
    for (const Tree& argument : arguments->items) plugin.arguments.push_back(argument.text);
  }
  if (const Tree* variables = exec.find("env")) {
    for (const Tree& variable : variables->items) {
      plugin.environment.emplace_back(variable.text_of("name"), variable.text_of("value"));
    }
  }
  plugin.install_hint = exec.text_of("installHint");
  plugin.provide_cluster_info = is_true(exec, "provideClusterInfo");
  config_.exec = std::move(plugin);
  return {};
}

Result<void> Reader::read_user(const Tree& user, const std::string& where) {
  for (const char* field : {"username", "password"}) {
    if (user.find(field) == nullptr) continue;
    return wrong(where + "." + field, "API servers take no passwords any more; use a token");
  }
  if (user.find("auth-provider") != nullptr) {
    return wrong(where + ".auth-provider", "was replaced by exec plugins; use exec");
  }
  for (const char* field : {"as", "as-uid", "as-groups", "as-user-extra"}) {
    if (user.find(field) == nullptr) continue;
    return wrong(where + "." + field, "impersonation is not done; use that user's credentials");
  }
  config_.client_certificate =
      TRY(text_or_file(user, where, "client-certificate-data", "client-certificate"));
  config_.client_key = TRY(text_or_file(user, where, "client-key-data", "client-key"));
  if (config_.client_certificate.is_given() != config_.client_key.is_given()) {
    return wrong(where, "client-certificate and client-key need each other");
  }
  if (const std::string_view file = user.text_of("tokenFile"); !file.empty()) {
    config_.token.file = beside(file);
    const auto content = config_.token.read();
    if (!content) return wrong(where + ".tokenFile", content.error().to_string());
  } else {
    config_.token.value = user.text_of("token");
  }
  if (const Tree* exec = user.find("exec"); exec != nullptr && !config_.token.is_given()) {
    TRY(read_exec(*exec, where + ".exec"));
  }
  return {};
}

Result<ApiConfig> Reader::read(std::string context_name) {
  if (root_.kind != Tree::Kind::kMap || root_.text_of("kind") != "Config") {
    return wrong("kind", "expected Config: is this a kubeconfig?");
  }
  if (context_name.empty()) context_name = root_.text_of("current-context");
  if (context_name.empty()) {
    return wrong("current-context", "is not set: set it, or give --context NAME");
  }
  config_.origin = "kubeconfig " + file_ + ", context " + context_name;
  const Tree* context = TRY(named("contexts", "context", context_name));
  const std::string cluster_name(context->text_of("cluster"));
  const std::string user_name(context->text_of("user"));
  if (const std::string_view ns = context->text_of("namespace"); !ns.empty()) config_.ns = ns;
  const Tree* cluster = TRY(named("clusters", "cluster", cluster_name));
  TRY(read_cluster(*cluster, "clusters[" + cluster_name + "].cluster"));
  if (!user_name.empty()) {
    const Tree* user = TRY(named("users", "user", user_name));
    TRY(read_user(*user, "users[" + user_name + "].user"));
  }
  return std::move(config_);
}

}  // namespace

Result<ApiConfig> kubeconfig(const std::string& file, const std::string& context) {
  const auto text = read_small_file(file);
  if (!text) return Fail(Error(text.error()).in("reading the kubeconfig"));
  const objects::YamlDocuments yaml = objects::parse_yaml(*text);
  if (!yaml.error.empty()) return Fail(Error(yaml.error.front()).in("kubeconfig " + file));
  if (yaml.documents.size() != 1) {
    return fail(Code::kInvalid, "kubeconfig " + file + ": expected one document, got " +
                                    std::to_string(yaml.documents.size()));
  }
  return Reader(file, yaml.documents.front()).read(context);
}

}  // namespace weft::source::kube
