#include "agent/sandbox/store.h"

#include "agent/sandbox/files.h"
#include "ztunnel/base/log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <filesystem>

namespace weft::sandbox {

namespace fs = std::filesystem;

Result<Store::Lock> Store::lock() const {
  Fd file(::open((folder_ + "/.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return fail_errno(errno, "opening " + folder_ + "/.lock");
  while (::flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(errno, "locking " + folder_);
  }
  return file;
}

Result<std::vector<ObjectPtr>> Store::read(const std::string& path) const {
  const std::string text = TRY(read_file(path));
  objects::Parsed parsed = objects::parse_manifests(text, path);
  if (!parsed.errors.empty()) return Fail(std::move(parsed.errors.front()).in(path));
  return std::move(parsed.objects);
}

Result<std::vector<ObjectPtr>> Store::list() const {
  std::vector<ObjectPtr> all;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") || !name.ends_with(".json")) continue;
    auto objects = read(entry.path().string());
    if (!objects && objects.error().code == Code::kNotFound) continue;  // removed meanwhile
    if (!objects) {
      // Somebody wrote past `apply`. One bad file must not keep the others from being managed.
      log::warn("objects").say(objects.error().to_string());
      continue;
    }
    all.insert(all.end(), objects->begin(), objects->end());
  }
  if (error) return fail_errno(error.value(), "reading " + folder_);
  std::sort(all.begin(), all.end(),
            [](const ObjectPtr& a, const ObjectPtr& b) { return a->key() < b->key(); });
  return all;
}

Result<ObjectPtr> Store::get(const objects::Key& key) const {
  const std::string path = folder_ + "/" + TRY(file_name(key));
  auto objects = read(path);
  if (!objects && objects.error().code == Code::kNotFound) return ObjectPtr();
  if (!objects) return Fail(std::move(objects).error());
  return objects->empty() ? ObjectPtr() : objects->front();
}

Result<void> Store::put(const objects::Object& object) const {
  const std::string path = folder_ + "/" + TRY(file_name(object.key()));
  std::shared_ptr<google::protobuf::Message> message(object.message().New());
  message->CopyFrom(object.message());
  const auto* field = message->GetDescriptor()->FindFieldByName("metadata");
  auto* meta = static_cast<crd::core::ObjectMeta*>(
      message->GetReflection()->MutableMessage(message.get(), field));
  meta->set_resourceversion(std::to_string(TRY(next_version())));
  const objects::Object versioned(object.api_version(), object.kind(), std::move(message));
  return write_file_atomically(path, objects::to_json(versioned) + "\n");
}

Result<void> Store::remove(const objects::Key& key) const {
  const std::string path = folder_ + "/" + TRY(file_name(key));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "removing " + path);
  return {};
}

Result<std::string> Store::file_name(const objects::Key& key) {
  constexpr std::string_view kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
  for (const std::string* part : {&key.kind, &key.ns, &key.name}) {
    if (part->find_first_not_of(kAllowed) != std::string::npos) {
      return fail(Code::kInvalid, key.to_string() +
                                      ": metadata.name: expected letters, digits, "
                                      "'.' and '-'");
    }
  }
  std::string name = key.kind + "_" + key.ns + "_" + key.name + ".json";
  if (key.name.empty() || name.size() > 240) {
    return fail(Code::kInvalid, key.to_string() + ": metadata.name: expected 1 to 200 characters");
  }
  return name;
}

Result<uint64_t> Store::next_version() const {
  const std::string path = folder_ + "/.version";
  uint64_t version = 0;
  if (const auto text = read_file(path)) {
    std::from_chars(text->data(), text->data() + text->size(), version);
  }
  ++version;
  TRY(write_file_atomically(path, std::to_string(version)));
  return version;
}

std::string new_uid() {
  std::array<unsigned char, 16> b{};
  while (::getrandom(b.data(), b.size(), 0) != static_cast<ssize_t>(b.size())) {
  }
  b[6] = static_cast<unsigned char>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3f) | 0x80);
  char text[37];
  std::snprintf(text, sizeof text,
                "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
                b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
                b[15]);
  return text;
}

std::string now_rfc3339() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace weft::sandbox
