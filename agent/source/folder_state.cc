#include "agent/source/folder_state.h"

#include "agent/objects/stand_in.h"
#include "agent/source/files.h"

#include <google/protobuf/util/message_differencer.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace weft::source {

namespace {

bool is_same(const objects::Object& left, const objects::Object& right) {
  return left.api_version() == right.api_version() &&
         left.message().GetDescriptor() == right.message().GetDescriptor() &&
         google::protobuf::util::MessageDifferencer::Equals(left.message(), right.message());
}

// Of a text with mistakes. Where one of two with the same name cannot be read, that one counts.
std::map<objects::Key, std::shared_ptr<const objects::Object>> security_objects(
    const std::string& text, const std::string& path) {
  std::map<objects::Key, std::shared_ptr<const objects::Object>> found;
  for (auto& object : objects::security_of(text, path)) {
    const bool stands_in =
        object->metadata().annotations().contains(objects::kUnreadableAnnotation);
    const objects::Key key = object->key();
    if (stands_in || !found.contains(key)) found[key] = std::move(object);
  }
  return found;
}

objects::Key pod_key(const Overlay& overlay) { return {"Pod", overlay.ns, overlay.name}; }

}  // namespace

void FolderState::refresh(const std::string& name) {
  if (!is_manifest_name(name)) return;
  const std::string path = folder_ + "/" + name;
  auto text = read_file(path);
  if (!text) {
    if (text.error().code == Code::kNotFound) return forget_file(name);
    errors_.push_back(std::move(text).error());
    return;
  }
  if (!files_.contains(name) && files_.size() == kFilesMax) {
    errors_.emplace_back(Code::kLimit, path + ": not read, the folder has more than " +
                                           std::to_string(kFilesMax) + " manifest files");
    return;
  }
  File& file = files_[name];
  if (!file.text.empty() && file.text == *text) return;
  file.text = std::move(*text);
  objects::Parsed parsed = objects::parse_manifests(file.text, path);
  std::map<objects::Key, ObjectPtr> fresh;
  for (ObjectPtr& object : parsed.objects) {
    const objects::Key key = object->key();
    if (!fresh.emplace(key, std::move(object)).second) {
      parsed.errors.emplace_back(Code::kInvalid, key.to_string() + ": is twice in " + path);
    }
  }
  if (parsed.errors.empty()) {
    file.was_good = true;
    replace_objects(name, file, std::move(fresh));
    return;
  }
  if (!file.was_good) replace_objects(name, file, security_objects(file.text, path));
  for (Error& error : parsed.errors) errors_.push_back(std::move(error));
}

void FolderState::forget_file(const std::string& name) {
  const auto found = files_.find(name);
  if (found == files_.end()) return;
  replace_objects(name, found->second, {});
  files_.erase(found);
}

void FolderState::replace_objects(const std::string& name, File& file,
                                  std::map<objects::Key, ObjectPtr> fresh) {
  for (const auto& [key, object] : file.objects) {
    if (fresh.contains(key)) continue;
    auto& holders = holders_[key];
    holders.erase(name);
    if (holders.empty()) holders_.erase(key);
    dirty_.insert(key);
  }
  for (auto& [key, object] : fresh) {
    const auto before = file.objects.find(key);
    if (before != file.objects.end() && is_same(*before->second, *object)) object = before->second;
    auto& holders = holders_[key];
    const bool shared = !holders.empty() && !(holders.size() == 1 && holders.contains(name));
    if (shared && !holders.contains(name)) {
      const std::string first = std::min(holders.begin()->first, name);
      errors_.emplace_back(Code::kInvalid, key.to_string() + ": is in " + folder_ + "/" +
                                               holders.begin()->first + " and in " + folder_ + "/" +
                                               name + "; the one in " + first + " counts");
    }
    holders[name] = object;
    dirty_.insert(key);
  }
  file.objects = std::move(fresh);
}

void FolderState::refresh_overlay(const std::string& name) {
  if (name.starts_with('.') || !name.ends_with(".json")) return;
  const std::string path = overlay_folder() + "/" + name;
  auto text = read_file(path);
  if (!text && text.error().code == Code::kNotFound) {
    const auto found = overlays_.find(name);
    if (found == overlays_.end()) return;
    const objects::Key key = pod_key(found->second);
    overlays_of_[key].erase(name);
    if (overlays_of_[key].empty()) overlays_of_.erase(key);
    overlays_.erase(found);
    dirty_.insert(key);
    return;
  }
  auto overlay = text ? Overlay::parse(*text) : Result<Overlay>(Fail(text.error()));
  if (overlay && overlay->file_name() != name) {
    overlay = fail(Code::kInvalid, "expected to be named " + overlay->file_name());
  }
  if (overlay && !overlays_.contains(name) && overlays_.size() == kFilesMax) {
    overlay = fail(Code::kLimit, "more than " + std::to_string(kFilesMax) + " such files");
  }
  if (!overlay) {
    errors_.push_back(std::move(overlay).error().in(path));
    return;
  }
  overlays_of_[pod_key(*overlay)].insert(name);
  dirty_.insert(pod_key(*overlay));
  overlays_.insert_or_assign(name, std::move(*overlay));
}

void FolderState::rescan() {
  auto names = list_manifests(folder_);
  if (!names) {
    errors_.push_back(std::move(names).error());
    return;
  }
  for (const std::string& name : *names) refresh(name);
  std::vector<std::string> gone;
  for (const auto& [name, file] : files_) {
    if (!std::binary_search(names->begin(), names->end(), name)) gone.push_back(name);
  }
  for (const std::string& name : gone) forget_file(name);
  const auto overlay_names = list_manifests(overlay_folder());
  if (overlay_names) {
    for (const std::string& name : *overlay_names) refresh_overlay(name);
  }
  gone.clear();
  for (const auto& [name, overlay] : overlays_) gone.push_back(name);
  for (const std::string& name : gone) refresh_overlay(name);
}

FolderState::ObjectPtr FolderState::effective(const objects::Key& key) {
  const auto holders = holders_.find(key);
  if (holders == holders_.end()) return nullptr;
  ObjectPtr object = holders->second.begin()->second;
  const auto overlays = overlays_of_.find(key);
  if (overlays == overlays_of_.end()) return object;
  for (const std::string& name : overlays->second) object = overlays_.at(name).lay_over(object);
  return object;
}

std::vector<Change> FolderState::take_changes() {
  std::vector<Change> changes;
  for (const objects::Key& key : std::exchange(dirty_, {})) {
    ObjectPtr now = effective(key);
    if (key.kind == "Pod") remove_own_overlays(key, now ? now->metadata().uid() : "");
    const auto before = told_.find(key);
    if (now == nullptr) {
      if (before == told_.end()) continue;
      told_.erase(before);
    } else {
      if (before != told_.end() && (before->second == now || is_same(*before->second, *now))) {
        continue;
      }
      told_[key] = now;
    }
    changes.push_back({key, std::move(now)});
  }
  return changes;
}

// Of pods that are gone: nobody else would ever remove them.
void FolderState::remove_own_overlays(const objects::Key& pod, const std::string& uid_that_stays) {
  const auto overlays = overlays_of_.find(pod);
  if (overlays == overlays_of_.end()) return;
  for (const std::string& name : overlays->second) {
    const bool stays = holders_.contains(pod) && overlays_.at(name).uid == uid_that_stays;
    if (stays || !own_overlays_.erase(name)) continue;
    ::unlink((overlay_folder() + "/" + name).c_str());  // inotify tells us as well
  }
}

Result<Overlay> FolderState::load_overlay(const std::string& ns, const std::string& name,
                                          const std::string& uid) const {
  Overlay empty = TRY(Overlay::for_pod(ns, name, uid));
  const std::string path = overlay_folder() + "/" + empty.file_name();
  const auto text = read_file(path);
  if (!text && text.error().code == Code::kNotFound) return empty;
  if (!text) return Fail(text.error());
  auto stored = Overlay::parse(*text);
  // A file that nobody can read is replaced: what it held is lost already.
  return stored && stored->file_name() == empty.file_name() ? *stored : empty;
}

Result<void> FolderState::store_overlay(const Overlay& overlay) {
  if (overlay.annotations.size() > Overlay::kAnnotationsMax) {
    return fail(Code::kLimit, pod_key(overlay).to_string() + ": more than " +
                                  std::to_string(Overlay::kAnnotationsMax) + " annotations");
  }
  if (::mkdir(overlay_folder().c_str(), 0755) != 0 && errno != EEXIST) {
    return fail_errno(errno, overlay_folder());
  }
  TRY(write_file(overlay_folder() + "/" + overlay.file_name(), overlay.to_json()));
  own_overlays_.insert(overlay.file_name());
  return {};
}

}  // namespace weft::source
