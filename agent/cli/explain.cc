// `weft explain FROM TO:PORT`: which route a connection takes, and which policies decide.

#include "agent/compile/analyze/explain.h"

#include "agent/cli/commands.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/lifecycle.h"
#include "agent/source/source.h"
#include "ztunnel/base/flags.h"

#include <cstdio>

namespace weft::cli {

namespace {

Result<analyze::Cluster> read_cluster(const Flags& flags) {
  std::string from = flags.get("filename");
  if (from.empty()) {
    const sandbox::Layout layout = TRY(sandbox::Layout::make(flags.get("sandbox")));
    TRY(sandbox::need_up(layout));
    from = layout.objects();
  }
  source::ReadOnce read = source::read_path(from);
  if (!read.errors.empty()) {
    return fail(Code::kInvalid,
                read.errors.front().to_string() +
                    (read.errors.size() > 1 ? " (and more: see weft analyze)" : ""));
  }
  compile::MeshConfig config;
  config.trust_domain = flags.get("trust-domain");
  config.root_namespace = flags.get("root-namespace");
  return analyze::Cluster(read.objects, {}, std::move(config));
}

}  // namespace

int run_explain(const Args& args) {
  const compile::MeshConfig defaults;
  const std::vector<Flag> known = {
      {.name = "sandbox",
       .value = "NAME",
       .help = "the sandbox, where there are several",
       .fallback = "weft"},
      {.name = "filename",
       .value = "FILE|DIR",
       .help = "in these manifests instead",
       .letter = 'f'},
      {.name = "trust-domain", .value = "NAME", .fallback = defaults.trust_domain},
      {.name = "root-namespace", .value = "NAME", .fallback = defaults.root_namespace}};
  const std::string usage = "weft explain FROM TO:PORT";
  const auto flags = Flags::parse(args, known, 2);
  if (!flags) return complain("weft explain: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text(usage, known).c_str(), stdout);
    return kDone;
  }
  if (flags->positional().size() != 2) {
    return complain(usage + ": expected a pod and a pod's or Service's port, such as " +
                        "shop/client shop/web:80",
                    kMisused);
  }
  const auto question = analyze::parse_question(flags->positional()[0], flags->positional()[1]);
  if (!question) return complain("weft explain: " + question.error().to_string(), kMisused);
  const auto cluster = read_cluster(*flags);
  if (!cluster) return complain(cluster.error().to_string());
  const auto explanation = analyze::explain(*cluster, *question);
  if (!explanation) return complain(explanation.error().to_string());
  for (const std::string& line : explanation->lines) std::printf("%s\n", line.c_str());
  return kDone;
}

}  // namespace weft::cli
