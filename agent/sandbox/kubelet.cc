#include "agent/sandbox/kubelet.h"

#include "agent/sandbox/services.h"
#include "ztunnel/http/http1_server.h"
#include "ztunnel/runtime/socket.h"

#include <algorithm>
#include <charconv>
#include <sstream>

namespace weft::sandbox {

namespace {

using google::protobuf::Value;
using runtime::Task;

// "HTTP/1.1 200"
constexpr size_t kStatusLineBytesMin = 12;

const Value* member(const Value& object, const char* name) {
  if (!object.has_struct_value()) return nullptr;
  const auto& fields = object.struct_value().fields();
  const auto found = fields.find(name);
  return found == fields.end() ? nullptr : &found->second;
}

double number_in(const Value& object, const char* name, double fallback) {
  const Value* value = member(object, name);
  return value != nullptr && value->has_number_value() ? value->number_value() : fallback;
}

std::chrono::milliseconds seconds_in(const Value& object, const char* name, double fallback,
                                     double at_least) {
  const double seconds = std::clamp(number_in(object, name, fallback), at_least, 3600.0);
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

// The status line is all that a probe looks at.
Result<void> judge(std::string_view head) {
  if (!head.starts_with("HTTP/1.") || head.size() < kStatusLineBytesMin) {
    return fail(Code::kInvalid, "the answer is no HTTP/1");
  }
  if (head[9] == '2' || head[9] == '3') return {};
  return fail(Code::kRefused, "HTTP status " + std::string(head.substr(9, 3)));
}

std::string to_body(const SocketAddress& address, const Probe& probe) {
  return address.to_string() + "\n" + std::to_string(probe.timeout.count()) + "\n" + probe.path;
}

struct Question {
  SocketAddress address;
  Probe probe;
};

Result<Question> parse_body(const std::string& body) {
  std::istringstream lines(body);
  std::string address;
  std::string timeout;
  Question question;
  std::getline(lines, address);
  std::getline(lines, timeout);
  std::getline(lines, question.probe.path);
  question.address = TRY(SocketAddress::parse(address));
  int64_t milliseconds = 0;
  const char* end = timeout.data() + timeout.size();
  const auto parsed = std::from_chars(timeout.data(), end, milliseconds);
  if (parsed.ec != std::errc() || parsed.ptr != end || milliseconds <= 0) {
    return fail(Code::kInvalid, "expected IP:PORT, milliseconds and path, a line each");
  }
  question.probe.timeout = std::chrono::milliseconds(milliseconds);
  return question;
}

Task<http::Response> answer(runtime::Loop& loop, http::Request request) {
  if (request.method != "POST" || request.path != "/probe") {
    co_return http::Response{.status = 404, .body = "POST /probe is all there is"};
  }
  Result<Question> question = parse_body(request.body);
  if (!question) co_return http::Response{.status = 400, .body = question.error().to_string()};
  const Result<void> passed = co_await ask(loop, -1, question->address, question->probe);
  if (!passed) co_return http::Response{.status = 503, .body = passed.error().to_string()};
  co_return http::Response{};
}

Task<void> serve(runtime::Loop& loop, Fd connection) {
  const http::Handler handler = [&loop](http::Request request) {
    return answer(loop, std::move(request));
  };
  co_await http::serve_http1(
      loop, std::make_unique<runtime::SocketStream>(loop, std::move(connection)), handler);
}

}  // namespace

std::optional<Probe> parse_probe(const Value& spec, const crd::core::Pod& pod) {
  const Value* http = member(spec, "httpGet");
  const Value* how = http != nullptr ? http : member(spec, "tcpSocket");
  const Value* port = how != nullptr ? member(*how, "port") : nullptr;
  if (port == nullptr) return std::nullopt;
  crd::core::ServicePort wanted;
  *wanted.mutable_targetport() = *port;
  const auto number = target_port(wanted, pod);
  if (!number) return std::nullopt;
  Probe probe;
  probe.port = *number;
  if (http != nullptr) {
    const Value* path = member(*http, "path");
    probe.path = path != nullptr && path->has_string_value() ? path->string_value() : "/";
  }
  probe.initial_delay = seconds_in(spec, "initialDelaySeconds", 0, 0);
  probe.period = seconds_in(spec, "periodSeconds", 10, 1);
  probe.timeout = seconds_in(spec, "timeoutSeconds", 1, 1);
  probe.failure_threshold =
      static_cast<int>(std::clamp(number_in(spec, "failureThreshold", 3), 1.0, 1000.0));
  return probe;
}

Task<Result<void>> ask(runtime::Loop& loop, int netns_fd, SocketAddress address, Probe probe) {
  runtime::DialOptions options;
  options.netns_fd = netns_fd;
  options.timeout = probe.timeout;
  const auto connected = CO_TRY(co_await runtime::dial(loop, address, options));
  runtime::SocketStream& stream = *connected;
  if (probe.path.empty()) co_return Result<void>();
  const runtime::Deadline deadline(loop, probe.timeout, [&stream] { stream.abort(); });
  const std::string request = "GET " + probe.path + " HTTP/1.1\r\nHost: " + address.to_string() +
                              "\r\nUser-Agent: weft-sandbox-probe\r\nConnection: close\r\n\r\n";
  CO_TRY(co_await stream.write(loop.buffers().copy_of(request)));
  std::string head;
  while (head.size() < kStatusLineBytesMin) {
    const auto more = co_await stream.read();
    if (deadline.expired()) co_return fail(Code::kTimeout, "no answer in time");
    if (!more) co_return Fail(more.error());
    if (more->empty()) break;
    head.append(more->text());
  }
  co_return judge(head);
}

std::vector<ProcessSpec> kubelet_processes(const Layout& layout) {
  std::vector<ProcessSpec> specs;
  for (const std::string& node : layout.nodes()) {
    ProcessSpec spec;
    spec.name = node + "-kubelet";
    spec.argv = {"/proc/self/exe", "sandbox", "kubelet", "--socket", kubelet_socket(layout, node)};
    spec.cgroup = layout.kubelet_cgroup(node);
    spec.netns = layout.netns(node);
    specs.push_back(std::move(spec));
  }
  return specs;
}

std::string kubelet_socket(const Layout& layout, std::string_view node) {
  return layout.node(node) + "/kubelet.sock";
}

Task<Result<void>> ask_by_kubelet(runtime::Loop& loop, std::string socket_path,
                                  SocketAddress address, Probe probe) {
  auto stream = CO_TRY(co_await runtime::dial_unix(loop, std::move(socket_path)));
  const http::Response response = CO_TRY(co_await http::fetch_http1(
      loop, std::move(stream), "POST", "/probe", to_body(address, probe)));
  if (response.status == 200) co_return Result<void>();
  co_return fail(Code::kUnavailable, response.body);
}

Result<void> run_kubelet(const std::string& socket_path) {
  const auto loop = TRY(runtime::Loop::create_best());
  const Fd listener = TRY(runtime::listen_unix(socket_path, 0600));
  runtime::Acceptor acceptor(*loop, listener.get(), [&loop](Fd connection) {
    return serve(*loop, std::move(connection));
  });
  loop->spawn(acceptor.run());
  loop->run();
  return {};
}

}  // namespace weft::sandbox
