#include "agent/sandbox/apply.h"

#include "agent/objects/kinds.h"
#include "agent/sandbox/admission.h"
#include "agent/sandbox/files.h"
#include "agent/sandbox/images.h"
#include "agent/sandbox/store.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

namespace weft::sandbox {

namespace fs = std::filesystem;

namespace {

std::string lower(std::string_view text) {
  std::string out;
  for (const char c : text) out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::vector<std::string> manifest_files(const std::string& path, std::vector<Error>& errors) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {path};
  std::vector<std::string> files;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const fs::path& file = entry.path();
    const std::string type = file.extension().string();
    const bool manifest = type == ".yaml" || type == ".yml" || type == ".json";
    if (manifest && file.filename() != kImagesFileName && file.filename().string()[0] != '.') {
      files.push_back(file.string());
    }
  }
  std::sort(files.begin(), files.end());
  if (error) errors.push_back(errno_error(error.value(), "reading " + path));
  if (files.empty() && !error) {
    errors.emplace_back(Code::kNotFound, path + ": no *.yaml, *.yml or *.json in this folder");
  }
  return files;
}

std::vector<ObjectPtr> read_manifests(const std::string& path, std::vector<Error>& errors) {
  std::vector<ObjectPtr> all;
  for (const std::string& file : manifest_files(path, errors)) {
    const auto text = read_file(file);
    if (!text) {
      errors.push_back(text.error());
      continue;
    }
    objects::Parsed parsed = objects::parse_manifests(*text, file);
    all.insert(all.end(), parsed.objects.begin(), parsed.objects.end());
    for (Error& error : parsed.errors) errors.push_back(std::move(error));
  }
  return all;
}

struct ImageTable {
  Images images;
  std::string origin;
};

// What earlier manifests brought stays known.
Result<ImageTable> gather_images(const Layout& layout, const std::string& manifests) {
  ImageTable table;
  table.origin = kImagesFileName;
  if (const auto earlier = read_file(layout.images_file())) {
    table.images = TRY(parse_images(*earlier, layout.images_file()));
  }
  const std::string file = find_images_file(manifests);
  if (file.empty()) return table;
  table.origin = file;
  const std::string text = TRY(read_file(file));
  for (auto& [name, argv] : TRY(parse_images(text, file))) {
    table.images[name] = std::move(argv);
  }
  return table;
}

const char* word_for(Admitted::Outcome outcome) {
  switch (outcome) {
    case Admitted::Outcome::kCreated:
      return " created";
    case Admitted::Outcome::kConfigured:
      return " configured";
    case Admitted::Outcome::kUnchanged:
      return " unchanged";
  }
  return "";
}

Result<void> write_all(const Layout& layout, const Store& store, const ImageTable& table,
                       const Admission& admission, std::vector<std::string>& report) {
  TRY(write_file_atomically(layout.images_file(), print_images(table.images)));
  for (const Admitted& admitted : admission.admitted) {
    if (admitted.outcome != Admitted::Outcome::kUnchanged) TRY(store.put(*admitted.object));
    report.push_back(lower(admitted.object->kind()) + "/" + admitted.object->metadata().name() +
                     word_for(admitted.outcome));
  }
  return {};
}

// A pod leaves by its kubelet, which ends its processes first.
Result<void> delete_one(const Store& store, const objects::Object& object) {
  if (object.kind() != "Pod") return store.remove(object.key());
  if (!object.metadata().deletiontimestamp().empty()) return {};
  return store.put(*with_metadata(
      object, [](crd::core::ObjectMeta& meta) { meta.set_deletiontimestamp(now_rfc3339()); }));
}

Result<void> delete_with_dependents(const Store& store, const objects::Object& object) {
  if (object.kind() == "Namespace") {
    const std::vector<ObjectPtr> all = TRY(store.list());
    for (const ObjectPtr& other : all) {
      if (other->metadata().namespace_() == object.metadata().name()) {
        TRY(delete_one(store, *other));
      }
    }
  }
  return delete_one(store, object);
}

Applied delete_keys(const Layout& layout, const std::vector<objects::Key>& keys) {
  Applied applied;
  const Store store(layout.objects());
  const auto lock = store.lock();
  if (!lock) {
    applied.errors.push_back(lock.error());
    return applied;
  }
  for (const objects::Key& key : keys) {
    const auto object = store.get(key);
    if (!object) {
      applied.errors.push_back(object.error());
    } else if (!*object) {
      applied.errors.emplace_back(Code::kNotFound, lower(key.kind) + " \"" + key.name +
                                                       "\" not found" +
                                                       (key.ns.empty() ? "" : " in " + key.ns));
    } else if (auto done = delete_with_dependents(store, **object); !done) {
      applied.errors.push_back(done.error());
    } else {
      applied.report.push_back(lower((*object)->kind()) + "/" + key.name + " deleted");
    }
  }
  return applied;
}

}  // namespace

Applied apply_manifests(const Layout& layout, const std::string& manifests,
                        const std::string& fallback_namespace) {
  Applied applied;
  const std::vector<ObjectPtr> wanted = read_manifests(manifests, applied.errors);
  const auto table = gather_images(layout, manifests);
  if (!table) applied.errors.push_back(table.error());
  if (!applied.errors.empty()) return applied;
  const Store store(layout.objects());
  const auto lock = store.lock();
  const auto present = lock ? store.list() : Fail(lock.error());
  if (!present) {
    applied.errors.push_back(present.error());
    return applied;
  }
  const Admission admission =
      admit(wanted, *present, table->images, table->origin, fallback_namespace, layout.families());
  applied.errors = admission.errors;
  if (!applied.errors.empty()) return applied;
  if (auto done = write_all(layout, store, *table, admission, applied.report); !done) {
    applied.errors.push_back(done.error());
  }
  return applied;
}

Applied delete_manifests(const Layout& layout, const std::string& manifests,
                         const std::string& fallback_namespace) {
  Applied applied;
  std::vector<objects::Key> keys;
  for (const ObjectPtr& object : read_manifests(manifests, applied.errors)) {
    objects::Key key = object->key();
    const auto kind = objects::find_kind(object->api_version(), object->kind());
    if (key.ns.empty() && kind && (*kind)->namespaced) key.ns = fallback_namespace;
    keys.push_back(std::move(key));
  }
  if (!applied.errors.empty()) return applied;
  // What was made last goes first: a namespace behind what is in it.
  std::reverse(keys.begin(), keys.end());
  std::vector<objects::Key> ordered;
  for (const bool namespaces : {false, true}) {
    for (const objects::Key& key : keys) {
      if ((key.kind == "Namespace") == namespaces) ordered.push_back(key);
    }
  }
  return delete_keys(layout, ordered);
}

Applied delete_named(const Layout& layout, const std::string& kind, const std::string& ns,
                     const std::vector<std::string>& names) {
  std::vector<objects::Key> keys;
  for (const std::string& name : names) {
    keys.push_back({kind, is_namespaced_kind(kind) ? ns : "", name});
  }
  return delete_keys(layout, keys);
}

Result<std::string> kind_of(const std::string& word) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kShort = {{
      {"po", "Pod"},
      {"svc", "Service"},
      {"deploy", "Deployment"},
      {"ns", "Namespace"},
      {"sa", "ServiceAccount"},
      {"cm", "ConfigMap"},
      {"no", "Node"},
      {"node", "Node"},
      {"nodes", "Node"},
      {"ap", "AuthorizationPolicy"},
      {"pa", "PeerAuthentication"},
      {"gtw", "Gateway"},
      {"se", "ServiceEntry"},
      {"we", "WorkloadEntry"},
  }};
  const std::string wanted = lower(word);
  for (const auto& [shorthand, kind] : kShort) {
    if (wanted == shorthand) return std::string(kind);
  }
  for (const objects::Kind& kind : objects::kinds()) {
    const std::string name = lower(kind.key_name);
    std::string plural = name + "s";
    if (name.ends_with("y")) plural = name.substr(0, name.size() - 1) + "ies";
    if (name.ends_with("s")) plural = name + "es";
    if (wanted == name || wanted == plural) return std::string(kind.key_name);
  }
  return fail(Code::kInvalid, "there is no kind \"" + word +
                                  "\": expected pods, services, deployments, namespaces, "
                                  "configmaps, serviceaccounts, nodes, authorizationpolicies, ..");
}

bool is_namespaced_kind(const std::string& kind) {
  if (kind == "Node") return false;
  for (const objects::Kind& known : objects::kinds()) {
    if (known.key_name == kind) return known.namespaced;
  }
  return true;
}

}  // namespace weft::sandbox
