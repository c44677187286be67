#include "agent/sandbox/images.h"

#include <yaml-cpp/yaml.h>

#include <filesystem>

namespace weft::sandbox {

namespace fs = std::filesystem;

namespace {

std::string put_folder(std::string word, const std::string& folder) {
  constexpr std::string_view kPlace = "{folder}";
  for (size_t at = word.find(kPlace); at != std::string::npos;
       at = word.find(kPlace, at + folder.size())) {
    word.replace(at, kPlace.size(), folder);
  }
  return word;
}

Result<Images> read_images(const YAML::Node& root, const std::string& origin) {
  const std::string expected =
      origin + ": expected \"images:\" with lines like  name:tag: [program, argument]";
  if (!root.IsMap() || root.size() != 1 || !root["images"] || !root["images"].IsMap()) {
    return fail(Code::kInvalid, expected);
  }
  const std::string folder = fs::absolute(origin).lexically_normal().parent_path().string();
  Images images;
  for (const auto& entry : root["images"]) {
    const auto name = entry.first.as<std::string>();
    if (!entry.second.IsSequence() || entry.second.size() == 0) {
      return fail(Code::kInvalid, origin + ": images[\"" + name +
                                      "\"]: expected a list: the program and its arguments");
    }
    for (const auto& word : entry.second) {
      images[name].push_back(put_folder(word.as<std::string>(), folder));
    }
  }
  return images;
}

}  // namespace

Result<Images> parse_images(std::string_view text, const std::string& origin) {
  try {
    return read_images(YAML::Load(std::string(text)), origin);
  } catch (const YAML::Exception& problem) {
    return fail(Code::kInvalid, origin + ": " + problem.what());
  }
}

std::string print_images(const Images& images) {
  YAML::Emitter out;
  out << YAML::BeginMap << YAML::Key << "images" << YAML::Value << YAML::BeginMap;
  for (const auto& [name, argv] : images) {
    out << YAML::Key << name << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const std::string& word : argv) out << YAML::DoubleQuoted << word;
    out << YAML::EndSeq;
  }
  out << YAML::EndMap << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

std::string find_images_file(const std::string& manifests) {
  std::error_code error;
  fs::path folder = fs::absolute(manifests, error).lexically_normal();
  if (folder.filename().empty()) folder = folder.parent_path();
  if (!fs::is_directory(folder, error)) folder = folder.parent_path();
  for (const fs::path& place : {folder, folder.parent_path()}) {
    const fs::path file = place / kImagesFileName;
    if (fs::is_regular_file(file, error)) return file.string();
  }
  return "";
}

}  // namespace weft::sandbox
