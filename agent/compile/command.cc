#include "agent/compile/command.h"

#include "agent/compile/compiler.h"
#include "agent/compile/print.h"
#include "ztunnel/base/flags.h"

namespace weft::compile {

namespace {

std::vector<Flag> known_flags() {
  const MeshConfig defaults;
  return {{.name = "filename",
           .value = "DIR|FILE",
           .help = "the manifests",
           .kind = Flag::Kind::kRequired,
           .letter = 'f'},
          {.name = "output",
           .value = "json|yaml",
           .help = "one JSON object a line, or YAML documents",
           .fallback = "json",
           .letter = 'o'},
          {.name = "trust-domain",
           .value = "NAME",
           .help = "of the mesh",
           .fallback = defaults.trust_domain},
          {.name = "cluster-id",
           .value = "NAME",
           .help = "the beginning of workloads' names",
           .fallback = defaults.cluster_id},
          {.name = "cluster-domain",
           .value = "NAME",
           .help = "the end of Services' host names",
           .fallback = defaults.cluster_domain},
          {.name = "root-namespace",
           .value = "NAME",
           .help = "whose policies are the mesh's",
           .fallback = defaults.root_namespace}};
}

Result<std::string> render(const std::vector<Resource>& resources, bool yaml) {
  std::string text;
  for (const Resource& resource : resources) {
    text += TRY(yaml ? to_yaml_document(resource) : to_json_line(resource));
  }
  return text;
}

int refuse(std::ostream& err, std::string_view message) {
  err << message << "\n";
  return 1;
}

}  // namespace

int compile_command(const std::vector<std::string>& args, std::ostream& out, std::ostream& err) {
  const std::vector<Flag> known = known_flags();
  const auto flags = Flags::parse(args, known);
  if (!flags) return refuse(err, flags.error().to_string());
  if (flags->help()) {
    out << Flags::help_text("weft compile", known);
    return 0;
  }
  const std::string& format = flags->get("output");
  if (format != "json" && format != "yaml") {
    return refuse(err, "--output: expected json or yaml, got \"" + format + "\"");
  }
  const source::ReadOnce read = source::read_path(flags->get("filename"));
  for (const Error& error : read.errors) err << error.to_string() << "\n";
  if (!read.errors.empty()) return 1;
  Compiler compiler({.trust_domain = flags->get("trust-domain"),
                     .cluster_id = flags->get("cluster-id"),
                     .cluster_domain = flags->get("cluster-domain"),
                     .root_namespace = flags->get("root-namespace")});
  std::vector<source::Change> changes;
  for (const auto& object : read.objects) changes.push_back({object->key(), object});
  compiler.apply(changes);
  const auto text = render(compiler.all(), format == "yaml");
  if (!text) return refuse(err, text.error().to_string());
  for (const Notice& notice : compiler.notices()) {
    err << "warning: " << notice.object.to_string() << ": " << notice.message << "\n";
  }
  out << *text;
  return 0;
}

}  // namespace weft::compile
