#include "agent/source/status.h"

#include "agent/objects/names.h"
#include "agent/objects/tree.h"
#include "agent/source/files.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace weft::source {

namespace {

using objects::Tree;

std::string status_folder(const std::string& folder) { return folder + "/.status"; }

std::string status_file(const std::string& folder, const objects::Key& key) {
  return status_folder(folder) + "/" + key.kind + "." + key.ns + "." + key.name + ".json";
}

// When the condition of this type came to have this status; empty: now.
std::string since(const Tree& before, const Condition& condition) {
  const Tree* conditions = before.find("conditions");
  if (conditions == nullptr) return {};
  for (const Tree& one : conditions->items) {
    if (one.text_of("type") != condition.type) continue;
    if (one.text_of("status") != (condition.is_true ? "True" : "False")) return {};
    return std::string(one.text_of("lastTransitionTime"));
  }
  return {};
}

std::string to_json(const std::vector<Condition>& conditions, const Tree& before,
                    const std::string& now) {
  Tree list = Tree::list();
  for (const Condition& condition : conditions) {
    const std::string then = since(before, condition);
    Tree one = Tree::map();
    one.add("type", Tree::of(condition.type));
    one.add("status", Tree::of(std::string(condition.is_true ? "True" : "False")));
    one.add("reason", Tree::of(condition.reason));
    one.add("message", Tree::of(condition.message));
    one.add("lastTransitionTime", Tree::of(then.empty() ? now : then));
    list.items.push_back(std::move(one));
  }
  Tree status = Tree::map();
  status.add("conditions", std::move(list));
  return objects::write_json(status) + "\n";
}

class FolderStatusWriter final : public StatusWriter {
 public:
  FolderStatusWriter(std::string folder, Clock clock)
      : folder_(std::move(folder)), clock_(std::move(clock)) {}

  Result<void> write(const objects::Key& key, const std::vector<Condition>& conditions) override {
    const std::string file = status_file(folder_, key);
    if (conditions.empty()) {
      if (::unlink(file.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
      return fail_errno(errno, file);
    }
    const auto kept = read_file(file);
    const auto before = kept ? objects::parse_json(*kept) : Result<Tree>(Tree());
    const std::string text =
        to_json(conditions, before ? *before : Tree(), objects::format_time(clock_()));
    if (kept && *kept == text) return {};
    if (::mkdir(status_folder(folder_).c_str(), 0755) != 0 && errno != EEXIST) {
      return fail_errno(errno, status_folder(folder_));
    }
    return write_file(file, text);
  }

 private:
  std::string folder_;
  Clock clock_;
};

}  // namespace

std::unique_ptr<StatusWriter> make_folder_status_writer(std::string folder, Clock clock) {
  return std::make_unique<FolderStatusWriter>(std::move(folder), std::move(clock));
}

std::shared_ptr<const objects::Object> with_status(
    const std::string& folder, const std::shared_ptr<const objects::Object>& object) {
  const auto text = read_file(status_file(folder, object->key()));
  const auto* field = object->message().GetDescriptor()->FindFieldByName("status");
  if (!text || field == nullptr || field->message_type() == nullptr ||
      field->message_type() != google::protobuf::Value::descriptor()) {
    return object;
  }
  google::protobuf::Value status;
  if (!google::protobuf::util::JsonStringToMessage(*text, &status).ok()) return object;
  std::shared_ptr<google::protobuf::Message> copy(object->message().New());
  copy->CopyFrom(object->message());
  copy->GetReflection()->MutableMessage(copy.get(), field)->CopyFrom(status);
  return std::make_shared<objects::Object>(object->api_version(), object->kind(), std::move(copy));
}

}  // namespace weft::source
