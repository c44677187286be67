#include "agent/control/status.h"

#include "ztunnel/base/log.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <ctime>

namespace weft::control {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;

// A small builder over protobuf's Struct, whose printer knows how to escape.
class Object {
 public:
  explicit Object(Struct& fields) : fields_(fields) {}
  Object& text(const char* key, const std::string& value) {
    (*fields_.mutable_fields())[key].set_string_value(value);
    return *this;
  }
  Object& number(const char* key, uint64_t value) {
    (*fields_.mutable_fields())[key].set_number_value(static_cast<double>(value));
    return *this;
  }
  Object& flag(const char* key, bool value) {
    (*fields_.mutable_fields())[key].set_bool_value(value);
    return *this;
  }
  Object object(const char* key) {
    return Object(*(*fields_.mutable_fields())[key].mutable_struct_value());
  }
  ListValue& list(const char* key) {
    return *(*fields_.mutable_fields())[key].mutable_list_value();
  }

 private:
  Struct& fields_;
};

Object add_to(ListValue& list) { return Object(*list.add_values()->mutable_struct_value()); }

std::string rfc3339(std::chrono::system_clock::time_point time) {
  const time_t seconds = std::chrono::system_clock::to_time_t(time);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text, length};
}

}  // namespace

void SourceErrors::add(const Error& error) {
  ++count_;
  latest_.push_back(error.to_string());
  if (latest_.size() > kKept) latest_.pop_front();
  log::error("control")
      .field("error", latest_.back())
      .say("an object was not accepted; its last good version stays");
}

std::string to_json(const Status& status) {
  Struct root;
  Object top(root);
  top.text("role", "control")
      .text("listen", status.listen)
      .text("trust_domain", status.trust_domain)
      .flag("ready", status.ready);
  top.object("root").text("not_after", rfc3339(status.ca_not_after));
  top.object("certificates")
      .number("issued", status.certificates_issued)
      .number("refused", status.certificates_refused);
  ListValue& nodes = top.list("nodes");
  for (const auto& node : status.nodes) {
    add_to(nodes)
        .text("node", node.node)
        .text("peer", node.peer)
        .text("version_acked", node.version_acked)
        .text("last_nack", node.last_nack)
        .number("acks", node.acks)
        .number("nacks", node.nacks)
        .number("queued", node.queued);
  }
  top.number("acks", status.totals.acks).number("nacks", status.totals.nacks);
  Object resources = top.object("resources");
  for (const auto& [type, count] : status.totals.resources) resources.number(type.c_str(), count);
  ListValue& notices = top.list("notices");
  for (const auto& notice : status.notices) {
    add_to(notices).text("object", notice.object.to_string()).text("message", notice.message);
  }
  if (status.cluster) {
    top.object("cluster")
        .flag("leads", status.cluster->leads)
        .text("leader", status.cluster->leader)
        .number("api_requests_failed", status.cluster->api.failed)
        .number("api_requests_refused", status.cluster->api.refused)
        .number("tokens_known", status.cluster->tokens.known)
        .number("statuses_written", status.cluster->statuses_written)
        .number("roots_written", status.cluster->roots_written)
        .number("roots_foreign", status.cluster->roots_foreign);
  }
  Object errors = top.object("source_errors");
  errors.number("count", status.source_errors);
  ListValue& latest = errors.list("latest");
  for (const auto& text : status.latest_source_errors) latest.add_values()->set_string_value(text);

  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  if (!google::protobuf::util::MessageToJsonString(root, &json, options).ok()) {
    return R"({"error": "a text in the status is not UTF-8"})";
  }
  return json;
}

}  // namespace weft::control
