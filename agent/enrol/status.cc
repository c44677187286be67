#include "agent/enrol/status.h"

#include "agent/enrol/netns.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/socket.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

namespace weft::enrol {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

const SocketAddress kZtunnelAdmin{.ip = IpAddress::v4(0x7f000001), .port = 15000};
constexpr std::chrono::milliseconds kFetchTimeout{2'000};

void set(Struct& object, const std::string& key, const std::string& value) {
  (*object.mutable_fields())[key].set_string_value(value);
}

void set(Struct& object, const std::string& key, double value) {
  (*object.mutable_fields())[key].set_number_value(value);
}

void set_flag(Struct& object, const std::string& key, bool value) {
  (*object.mutable_fields())[key].set_bool_value(value);
}

void add_pods(const Enroller& enroller, ListValue& list) {
  for (const PodStatus& pod : enroller.pods()) {
    Struct& entry = *list.add_values()->mutable_struct_value();
    set(entry, "uid", pod.uid);
    set(entry, "namespace", pod.ns);
    set(entry, "name", pod.name);
    set(entry, "address", pod.address);
    set(entry, "state", pod.state);
    if (!pod.why.empty()) set(entry, "why", pod.why);
    if (pod.notes.empty()) continue;
    ListValue& notes = *(*entry.mutable_fields())["notes"].mutable_list_value();
    for (const std::string& note : pod.notes) notes.add_values()->set_string_value(note);
  }
}

void add_ztunnels(const Enroller& enroller, ListValue& list) {
  for (const ZtunnelStatus& ztunnel : enroller.ztunnels()) {
    Struct& entry = *list.add_values()->mutable_struct_value();
    set(entry, "pid", ztunnel.pid);
    set_flag(entry, "listeners", ztunnel.listeners);
    set_flag(entry, "snapshotSent", ztunnel.snapshot_sent);
    set(entry, "podsAcked", static_cast<double>(ztunnel.pods_acked));
    if (!ztunnel.last_refusal.empty()) set(entry, "lastRefusal", ztunnel.last_refusal);
  }
}

void add_ztunnel_status(const Result<std::string>& text, Value& out) {
  if (text && google::protobuf::util::JsonStringToMessage(*text, &out).ok()) return;
  out.Clear();
  set(*out.mutable_struct_value(), "error",
      text ? "its answer is no JSON" : text.error().to_string());
}

}  // namespace

std::string status_json(const std::string& node, const Enroller& enroller, const Capture& capture,
                        const KubeletProbes& probes, const std::string& cni,
                        const Result<std::string>& ztunnel_status) {
  Struct status;
  auto& fields = *status.mutable_fields();
  set(status, "node", node);
  add_pods(enroller, *fields["pods"].mutable_list_value());
  add_ztunnels(enroller, *fields["ztunnels"].mutable_list_value());
  Struct& kubelet = *fields["probes"].mutable_struct_value();
  set(kubelet, "state", probes.state());
  set(kubelet, "open", static_cast<double>(capture.open_probes()));
  set(status, "cni", cni);
  Struct& counts = *fields["capture"].mutable_struct_value();
  if (const Result<std::vector<CaptureCount>> sums = capture.counts()) {
    for (const CaptureCount& sum : *sums) set(counts, sum.name, static_cast<double>(sum.value));
  }
  add_ztunnel_status(ztunnel_status, fields["ztunnel"]);
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(status, &json).ok()) return "{}";
  return json;
}

runtime::Task<Result<std::string>> fetch_from_ztunnel(runtime::Loop& loop, pid_t pid,
                                                      std::string path) {
  const Fd netns = CO_TRY(open_netns_of(pid));
  runtime::DialOptions options;
  options.netns_fd = netns.get();
  options.timeout = kFetchTimeout;
  std::unique_ptr<runtime::ByteStream> stream =
      CO_TRY(co_await runtime::dial(loop, kZtunnelAdmin, std::move(options)));
  runtime::ByteStream& waited_for = *stream;
  bool open = true;
  const runtime::Deadline deadline(loop, kFetchTimeout, [&waited_for, &open] {
    if (open) waited_for.abort();
  });
  const Result<http::Response> response =
      co_await http::fetch_http1(loop, std::move(stream), "GET", std::move(path), "");
  open = false;
  if (!response) co_return Fail(response.error());
  if (response->status != 200) {
    co_return fail(Code::kUnavailable, "ztunnel answered " + std::to_string(response->status));
  }
  co_return response->body;
}

}  // namespace weft::enrol
