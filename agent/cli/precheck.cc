// `weft precheck`: what this machine's kernel offers, and what Weft does where it does not.

#include "agent/cli/precheck.h"

#include "agent/cli/cluster.h"
#include "agent/cli/commands.h"
#include "agent/cli/dump_tables.h"
#include "agent/objects/tree.h"
#include "ztunnel/base/flags.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>

namespace weft::cli {

namespace {

std::string word_about(const Checked& checked) {
  if (checked.outcome) return *checked.outcome;
  return checked.outcome.error().to_string() + "; then: " + checked.feature.without;
}

}  // namespace

std::vector<Checked> probe_all(const std::vector<Feature>& features) {
  std::vector<Checked> checked;
  for (const Feature& feature : features) checked.push_back({feature, feature.probe()});
  return checked;
}

std::string precheck_table(const std::vector<Checked>& checked) {
  std::vector<std::vector<std::string>> rows = {{"FEATURE", "STATE", "NEED", "REMARK"}};
  for (const Checked& one : checked) {
    std::vector<std::string> row = {one.feature.name, one.outcome ? "ok" : "missing",
                                    one.feature.needed ? "needed" : "used"};
    if (const std::string word = word_about(one); !word.empty()) row.push_back(word);
    rows.push_back(std::move(row));
  }
  return aligned(rows);
}

std::string precheck_json(const std::vector<Checked>& checked) {
  using objects::Tree;
  std::string text;
  for (const Checked& one : checked) {
    Tree tree = Tree::map();
    tree.add("feature", Tree::of(one.feature.name));
    tree.add("state", Tree::of(std::string(one.outcome ? "ok" : "missing")));
    tree.add("needed", Tree::of(one.feature.needed));
    tree.add("detail", Tree::of(one.outcome ? *one.outcome : one.outcome.error().to_string()));
    tree.add("without", Tree::of(one.feature.without));
    text += objects::write_json(tree) + "\n";
  }
  return text;
}

bool is_unfit(const std::vector<Checked>& checked) {
  return std::ranges::any_of(checked,
                             [](const Checked& one) { return one.feature.needed && !one.outcome; });
}

namespace {

// `weft precheck --cluster`: the versions of a cluster and its nodes, and who else is there.
int precheck_cluster(const Flags& flags) {
  const auto answers = ask_cluster(flags, {"/version", "/api/v1/nodes?limit=5000",
                                           "/apis/apps/v1/deployments?labelSelector=app%3Distiod"});
  if (!answers) return complain("weft precheck: " + answers.error().to_string());
  for (const auto& answer : *answers) {
    if (!answer) return complain("weft precheck: " + answer.error().to_string());
  }
  bool fatal = false;
  const objects::Tree& version = *(*answers)[0];
  std::printf(
      "Kubernetes %s, %zu nodes\n", std::string(version.text_of("gitVersion")).c_str(),
      (*answers)[1]->find("items") == nullptr ? 0 : (*answers)[1]->find("items")->items.size());
  for (const Verdict& verdict : judge_cluster(version, *(*answers)[1], *(*answers)[2])) {
    std::printf("%s: %s\n", verdict.is_fatal ? "error" : "note", verdict.what.c_str());
    fatal |= verdict.is_fatal;
  }
  return fatal ? complain("the cluster lacks what Weft needs; nothing was changed") : kDone;
}

}  // namespace

int run_precheck(const Args& args) {
  std::vector<Flag> known = {
      {.name = "output", .value = "json", .help = "one JSON object a line", .letter = 'o'},
      {.name = "cluster",
       .help = "look at a Kubernetes cluster instead of this machine",
       .kind = Flag::Kind::kSwitch}};
  known.insert(known.end(), cluster_flags().begin(), cluster_flags().end());
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft precheck: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft precheck", known).c_str(), stdout);
    return kDone;
  }
  if (flags->has("cluster") || flags->has("kubeconfig") || flags->has("context")) {
    return precheck_cluster(*flags);
  }
  const bool json = flags->get("output") == "json";
  if (flags->has("output") && !json) return complain("weft precheck: -o: expected json", kMisused);
  const std::vector<Checked> checked = probe_all(kernel_features());
  if (json) {
    std::fputs(precheck_json(checked).c_str(), stdout);
  } else {
    utsname system{};
    uname(&system);
    std::printf("Linux %s\n%s", system.release, precheck_table(checked).c_str());
  }
  if (!is_unfit(checked)) return kDone;
  return complain("something that Weft needs is missing; nothing was changed on this machine");
}

}  // namespace weft::cli
