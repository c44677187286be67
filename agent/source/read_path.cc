#include "agent/source/files.h"
#include "agent/source/source.h"

#include <filesystem>
#include <map>

namespace weft::source {

namespace {

// Objects of several files, each only once.
class Collector {
 public:
  void add_file(const std::string& path) {
    auto text = read_file(path);
    if (!text) {
      result_.errors.push_back(std::move(text).error());
      return;
    }
    objects::Parsed parsed = objects::parse_manifests(*text, path);
    for (Error& error : parsed.errors) result_.errors.push_back(std::move(error));
    for (auto& object : parsed.objects) {
      const auto [seen, fresh] = seen_.emplace(object->key(), path);
      if (fresh) {
        result_.objects.push_back(std::move(object));
      } else {
        result_.errors.emplace_back(Code::kInvalid, object->key().to_string() + ": is in " +
                                                        seen->second + " and again in " + path);
      }
    }
  }
  void add_error(Error error) { result_.errors.push_back(std::move(error)); }
  ReadOnce take() {
    if (!result_.errors.empty()) result_.objects.clear();
    return std::move(result_);
  }

 private:
  ReadOnce result_;
  std::map<objects::Key, std::string> seen_;
};

}  // namespace

ReadOnce read_path(const std::string& file_or_folder) {
  Collector collector;
  std::error_code ignored;
  if (!std::filesystem::is_directory(file_or_folder, ignored)) {
    collector.add_file(file_or_folder);
    return collector.take();
  }
  auto names = list_manifests(file_or_folder);
  if (!names) {
    collector.add_error(std::move(names).error());
  } else if (names->empty()) {
    collector.add_error(
        Error(Code::kNotFound, file_or_folder + ": no *.yaml, *.yml or *.json in it"));
  } else {
    for (const std::string& name : *names) {
      collector.add_file((std::filesystem::path(file_or_folder) / name).string());
    }
  }
  return collector.take();
}

}  // namespace weft::source
