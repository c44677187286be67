// `weft analyze`: reads manifests, prints what agent/compile/analyze finds in them.

#include "agent/compile/analyze/analyze.h"

#include "agent/cli/commands.h"
#include "agent/sandbox/layout.h"
#include "agent/sandbox/lifecycle.h"
#include "agent/source/files.h"
#include "ztunnel/base/flags.h"

#include <cstdio>
#include <filesystem>
#include <map>

namespace weft::cli {

namespace {

// Manifests of several places; of an object that is there twice in one place, that is a mistake, in
// a later place it is another version of the same.
class Reader {
 public:
  void add(const std::string& file_or_folder) {
    present_.clear();
    std::error_code ignored;
    if (!std::filesystem::is_directory(file_or_folder, ignored)) return add_file(file_or_folder);
    const auto names = source::list_manifests(file_or_folder);
    if (!names) {
      input_.mistakes.push_back(names.error());
      return;
    }
    if (names->empty()) {
      input_.mistakes.emplace_back(Code::kNotFound,
                                   file_or_folder + ": no *.yaml, *.yml or *.json in it");
    }
    for (const std::string& name : *names) {
      add_file((std::filesystem::path(file_or_folder) / name).string());
    }
  }
  analyze::Input take() {
    for (auto& [key, object] : objects_) input_.objects.push_back(std::move(object));
    return std::move(input_);
  }

 private:
  void add_file(const std::string& path) {
    const auto text = source::read_file(path);
    if (!text) {
      input_.mistakes.push_back(text.error());
      return;
    }
    objects::Parsed parsed = objects::parse_manifests(*text, path);
    for (Error& error : parsed.errors) input_.mistakes.push_back(std::move(error));
    for (auto& object : parsed.objects) {
      const objects::Key key = object->key();
      const auto [seen, fresh] = present_.emplace(key, path);
      if (fresh) {
        objects_[key] = std::move(object);
      } else {
        input_.mistakes.emplace_back(
            Code::kInvalid, key.to_string() + ": is in " + seen->second + " and again in " + path);
      }
    }
  }

  analyze::Input input_;
  std::map<objects::Key, std::shared_ptr<const objects::Object>> objects_;
  std::map<objects::Key, std::string> present_;  // of one place, and the file
};

std::vector<Flag> known_flags() {
  const compile::MeshConfig defaults;
  return {{.name = "filename",
           .value = "FILE|DIR",
           .help = "manifests: a file, or every *.yaml, *.yml and *.json of a folder",
           .letter = 'f'},
          {.name = "sandbox",
           .value = "NAME",
           .help = "judge them together with what is in this sandbox, or the sandbox alone"},
          {.name = "output", .value = "json", .help = "one JSON object a line", .letter = 'o'},
          {.name = "trust-domain", .value = "NAME", .fallback = defaults.trust_domain},
          {.name = "cluster-domain", .value = "NAME", .fallback = defaults.cluster_domain},
          {.name = "root-namespace",
           .value = "NAME",
           .help = "whose policies are the mesh's",
           .fallback = defaults.root_namespace}};
}

Result<void> read(const Flags& flags, Reader& reader) {
  if (flags.has("sandbox")) {
    const sandbox::Layout layout = TRY(sandbox::Layout::make(flags.get("sandbox")));
    TRY(sandbox::need_up(layout));
    reader.add(layout.objects());
  }
  if (flags.has("filename")) reader.add(flags.get("filename"));
  return {};
}

// Exit code: 1 where there is an error among them.
int print(const std::vector<analyze::Finding>& findings, bool json) {
  size_t errors = 0;
  for (const analyze::Finding& finding : findings) {
    errors += finding.rule.level == analyze::Level::kError ? 1 : 0;
    std::printf("%s\n", (json ? to_json_line(finding) : to_text_line(finding)).c_str());
  }
  if (!json && findings.empty()) std::printf("no issues found\n");
  return errors == 0 ? kDone : kFailed;
}

}  // namespace

int run_analyze(const Args& args) {
  const std::vector<Flag> known = known_flags();
  const auto flags = Flags::parse(args, known);
  if (!flags) return complain("weft analyze: " + flags.error().to_string(), kMisused);
  if (flags->help()) {
    std::fputs(Flags::help_text("weft analyze", known).c_str(), stdout);
    return kDone;
  }
  const bool json = flags->get("output") == "json";
  if (flags->has("output") && !json) return complain("weft analyze: -o: expected json", kMisused);
  if (!flags->has("filename") && !flags->has("sandbox")) {
    return complain("weft analyze: expected -f FILE|DIR, --sandbox NAME or both", kMisused);
  }
  Reader reader;
  if (const auto done = read(*flags, reader); !done) return complain(done.error().to_string());
  analyze::Input input = reader.take();
  input.config.trust_domain = flags->get("trust-domain");
  input.config.cluster_domain = flags->get("cluster-domain");
  input.config.root_namespace = flags->get("root-namespace");
  return print(analyze::analyze(input), json);
}

}  // namespace weft::cli
