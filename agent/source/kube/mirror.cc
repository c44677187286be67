#include "agent/source/kube/mirror.h"

#include "ztunnel/base/check.h"

namespace weft::source::kube {
namespace {

const objects::Kind* kind_of(const Resource& resource) {
  for (const objects::Kind& kind : objects::kinds()) {
    if (kind.group == resource.group && kind.name == resource.kind) return &kind;
  }
  CHECK(false);  // the table of resources names only known kinds
  return nullptr;
}

}  // namespace

Mirror::Mirror(Served served)
    : served_(std::move(served)),
      kind_{.kind = kind_of(served_.resource),
            .api_version = served_.api_version(),
            .metadata_only = served_.resource.metadata_only,
            .keeps_status = served_.resource.keeps_status} {}

void Mirror::begin_list() {
  ++list_;
  listed_version_.clear();
}

Result<std::string> Mirror::add_page(std::string_view json) {
  objects::ServedPage page = TRY(objects::read_page(json, kind_));
  for (objects::ServedObject& object : page.objects) TRY(take_in(std::move(object)));
  if (listed_version_.empty()) listed_version_ = std::move(page.resource_version);
  return std::move(page.next);
}

void Mirror::end_list() {
  std::vector<std::string> gone;
  for (const auto& [name, known] : known_) {
    if (known.list != list_) gone.push_back(name);
  }
  for (const std::string& name : gone) remove(key_of(name));
  resource_version_ = std::move(listed_version_);
  has_listed_ = true;
}

Result<bool> Mirror::add_event(std::string_view json) {
  using Type = objects::ServedEvent::Type;
  objects::ServedEvent event = TRY(objects::read_event(json, kind_));
  if (event.type == Type::kError) {
    if (event.code == 410 || event.reason == "Expired" || event.reason == "Gone") return false;
    return Fail(Refusal{.status = event.code,
                        .reason = event.reason,
                        .message = event.message,
                        .retry_after = std::nullopt}
                    .to_error());
  }
  if (event.type == Type::kDeleted) {
    remove(event.object.key);
  } else if (event.type == Type::kChanged) {
    TRY(take_in(std::move(event.object)));
  }
  resource_version_ = std::move(event.resource_version);
  return true;
}

Result<void> Mirror::take_in(objects::ServedObject object) {
  const std::string name = name_of(object.key);
  const auto [entry, is_new] = known_.try_emplace(name);
  Known& known = entry->second;
  known.list = list_;
  if (kind_.keeps_status) {
    on_server_[name] = {std::move(object.uid), object.generation, std::move(object.status)};
  }
  if (!is_new && known.content == object.content) return {};
  if (is_new && known_.size() > kObjectsMax) {
    known_.erase(entry);
    return fail(Code::kLimit, "the API server sent more than " + std::to_string(kObjectsMax) + " " +
                                  std::string(served_.resource.plural));
  }
  known.content = object.content;
  for (Error& error : object.errors) errors_.push_back(std::move(error));
  if (object.object) {
    known.is_good = true;
    known.is_told = true;
    changes_.push_back({std::move(object.key), std::move(object.object)});
  } else if (!known.is_good && object.stand_in) {
    known.is_told = true;
    changes_.push_back({std::move(object.key), std::move(object.stand_in)});
  }
  return {};
}

void Mirror::remove(const objects::Key& key) {
  const auto found = known_.find(name_of(key));
  if (found == known_.end()) return;
  if (found->second.is_told) changes_.push_back({key, nullptr});
  on_server_.erase(found->first);
  known_.erase(found);
}

void Mirror::clear() {
  begin_list();
  end_list();
  has_listed_ = false;
}

objects::Key Mirror::key_of(const std::string& name) const {
  const size_t slash = name.find('/');
  return {std::string(kind_.kind->key_name), name.substr(0, slash), name.substr(slash + 1)};
}

const OnServer* Mirror::on_server(const objects::Key& key) const {
  const auto found = on_server_.find(name_of(key));
  return found == on_server_.end() ? nullptr : &found->second;
}

}  // namespace weft::source::kube
