#include "agent/sandbox/environment.h"

#include <algorithm>

namespace weft::sandbox {

namespace {

using crd::core::Container;
using crd::core::Pod;

class Variables {
 public:
  void set(const std::string& name, std::string value) {
    for (auto& [known, present] : values_) {
      if (known == name) {
        present = std::move(value);
        return;
      }
    }
    values_.emplace_back(name, std::move(value));
  }

  // A reference to a variable that is not there stays as it is written, as in Kubernetes.
  std::string expand(const std::string& text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '$' || i + 1 >= text.size()) {
        out += text[i];
      } else if (text[i + 1] == '$') {
        out += '$';
        ++i;
      } else if (const size_t end = text.find(')', i);
                 text[i + 1] == '(' && end != std::string::npos) {
        const std::string name = text.substr(i + 2, end - i - 2);
        const auto found = std::find_if(values_.begin(), values_.end(),
                                        [&](const auto& pair) { return pair.first == name; });
        out += found != values_.end() ? found->second : text.substr(i, end - i + 1);
        i = end;
      } else {
        out += '$';
      }
    }
    return out;
  }

  std::vector<std::string> environment() const {
    std::vector<std::string> out;
    for (const auto& [name, value] : values_) out.push_back(name + "=" + value);
    return out;
  }

 private:
  std::vector<std::pair<std::string, std::string>> values_;  // in the order of the manifest
};

std::string pod_ips_of(const Pod& pod) {
  std::string all;
  for (const auto& one : pod.status().podips()) all += (all.empty() ? "" : ",") + one.ip();
  return all.empty() ? pod.status().podip() : all;
}

Result<std::string> field_of(const Pod& pod, const std::string& path) {
  const auto& meta = pod.metadata();
  if (path == "metadata.name") return meta.name();
  if (path == "metadata.namespace") return meta.namespace_();
  if (path == "metadata.uid") return meta.uid();
  if (path == "status.podIP") return pod.status().podip();
  if (path == "status.podIPs") return pod_ips_of(pod);
  if (path == "status.hostIP") return pod.status().hostip();
  if (path == "spec.nodeName") return pod.spec().nodename();
  if (path == "spec.serviceAccountName") {
    const auto& account = pod.spec().serviceaccountname();
    return account.empty() ? "default" : account;
  }
  for (const auto& [prefix, values] : {std::pair{"metadata.labels['", &meta.labels()},
                                       std::pair{"metadata.annotations['", &meta.annotations()}}) {
    if (!path.starts_with(prefix) || !path.ends_with("']")) continue;
    const size_t start = std::string_view(prefix).size();
    const auto found = values->find(path.substr(start, path.size() - start - 2));
    return found == values->end() ? std::string() : found->second;
  }
  return fail(Code::kUnsupported, "fieldRef.fieldPath \"" + path +
                                      "\": expected metadata.name, metadata.namespace, "
                                      "metadata.uid, status.podIP, status.hostIP, spec.nodeName, "
                                      "spec.serviceAccountName, metadata.labels['..'] or "
                                      "metadata.annotations['..']");
}

Result<void> add_variable(const Pod& pod, const crd::core::EnvVar& wanted,
                          const FindConfigMap& find_config_map, Variables& variables) {
  const auto& from = wanted.valuefrom();
  if (!wanted.has_valuefrom()) {
    variables.set(wanted.name(), variables.expand(wanted.value()));
  } else if (from.has_fieldref()) {
    variables.set(wanted.name(), TRY(field_of(pod, from.fieldref().fieldpath())));
  } else if (from.has_configmapkeyref()) {
    const auto& ref = from.configmapkeyref();
    const crd::core::ConfigMap* map = find_config_map(ref.name());
    const bool found = map != nullptr && map->data().contains(ref.key());
    if (found) {
      variables.set(wanted.name(), map->data().at(ref.key()));
    } else if (!ref.optional()) {
      return fail(Code::kNotFound, "env " + wanted.name() + ": there is no key \"" + ref.key() +
                                       "\" in ConfigMap \"" + ref.name() + "\"");
    }
  } else {
    return fail(Code::kUnsupported,
                "env " + wanted.name() + ": the sandbox knows value, fieldRef and configMapKeyRef");
  }
  return {};
}

Result<void> add_all_of(const crd::core::EnvFromSource& from, const FindConfigMap& find_config_map,
                        Variables& variables) {
  if (!from.has_configmapref()) {
    return fail(Code::kUnsupported, "envFrom: the sandbox knows configMapRef");
  }
  const crd::core::ConfigMap* map = find_config_map(from.configmapref().name());
  if (map == nullptr) {
    if (from.configmapref().optional()) return {};
    return fail(Code::kNotFound,
                "envFrom: there is no ConfigMap \"" + from.configmapref().name() + "\"");
  }
  const std::map<std::string, std::string> sorted(map->data().begin(), map->data().end());
  for (const auto& [key, value] : sorted) variables.set(from.prefix() + key, value);
  return {};
}

}  // namespace

Result<Execution> resolve_execution(const Pod& pod, const Container& container,
                                    const Images& images, const std::string& images_origin,
                                    const FindConfigMap& find_config_map) {
  Execution out;
  Variables variables;
  variables.set("PATH", kContainerPath);
  variables.set("HOSTNAME", pod.metadata().name());
  variables.set("HOME", "/root");
  for (const auto& from : container.envfrom()) TRY(add_all_of(from, find_config_map, variables));
  for (const auto& wanted : container.env()) {
    TRY(add_variable(pod, wanted, find_config_map, variables));
  }
  if (container.command().empty()) {
    const auto image = images.find(container.image());
    if (image == images.end()) {
      return fail(Code::kNotFound, "image \"" + container.image() +
                                       "\" stands for no local command: add it to " +
                                       images_origin + " or give the container a command");
    }
    out.argv = image->second;
  }
  for (const auto& word : container.command()) out.argv.push_back(variables.expand(word));
  for (const auto& word : container.args()) out.argv.push_back(variables.expand(word));
  out.env = variables.environment();
  if (!container.workingdir().empty()) out.cwd = container.workingdir();
  return out;
}

}  // namespace weft::sandbox
