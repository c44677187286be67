#pragma once

#include "tests/support/run_task.h"
#include "tests/unit/ztunnel/routing/requests.h"
#include "ztunnel/http/http1_accept.h"
#include "ztunnel/runtime/memory_pipe.h"
#include "ztunnel/runtime/pause.h"
#include "ztunnel/waypoint/pooled_upstreams.h"
#include "ztunnel/waypoint/proxy.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weft::waypoint {

// Endpoints "10.0.0.1:80", .. of one service, which do what a test wrote for them, in memory. What
// each does next: "200" (any status), "refuse" (the connection), "reset" (the request, read),
// "hang", "grpc N" (trailers-only); 200 when nothing is written. An answer's body is "<endpoint>
// <method> <path> <body>".
class ScriptedNetwork final : public Network {
 public:
  explicit ScriptedNetwork(runtime::Loop& loop, int endpoints) : loop_(loop) {
    for (int i = 1; i <= endpoints; ++i) {
      endpoint(i).name = "10.0.0." + std::to_string(i) + ":80";
      endpoint(i).address = *SocketAddress::parse(endpoint(i).name);
    }
  }

  // Of the endpoint with that number, from 1.
  void will(int number, std::vector<std::string> script) {
    scripts_[endpoint(number).name].assign(script.begin(), script.end());
  }
  void all_will(const std::string& what, int times) {
    for (const Host& one : endpoints_) scripts_[one.name].assign(static_cast<size_t>(times), what);
  }
  void place(int number, Place place) {
    endpoint(number).place = std::move(place);
    changed();
  }
  weft::route::Traffic& policy() { return traffic_; }
  void changed() { ++generation_; }
  // What every endpoint got, in order: "<endpoint> <method> <path> <body> #<attempt>".
  std::vector<std::string> got;
  int dials = 0;

  uint64_t generation() const override { return generation_; }
  std::vector<Host> endpoints(const weft::route::Destination& destination) override {
    return destination.hostname() == "empty" ? std::vector<Host>() : endpoints_;
  }
  const Place& own_place() const override { return own_; }
  weft::route::Port::Protocol protocol(const weft::route::Destination&) override {
    return weft::route::Port::HTTP1;
  }
  const weft::route::Traffic* traffic(const weft::route::Destination&) override {
    return &traffic_;
  }
  runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> dial(
      const Host& to, const weft::route::Traffic&, std::chrono::milliseconds) override {
    ++dials;
    if (next(to.name) == "refuse") {
      take(to.name);
      co_return fail(Code::kUnavailable, "connection refused");
    }
    auto [client, server] = runtime::make_memory_pipe();
    loop_.spawn(serve(to.name, std::move(server)));
    co_return std::move(client);
  }

 private:
  Host& endpoint(int number) {
    endpoints_.resize(std::max(endpoints_.size(), static_cast<size_t>(number)));
    return endpoints_[static_cast<size_t>(number) - 1];
  }
  std::string next(const std::string& name) {
    const auto& script = scripts_[name];
    return script.empty() ? "200" : script.front();
  }
  std::string take(const std::string& name) {
    std::string what = next(name);
    if (!scripts_[name].empty()) scripts_[name].pop_front();
    return what;
  }
  runtime::Task<void> serve(std::string name, std::unique_ptr<runtime::ByteStream> stream) {
    http::Http1Server server(loop_, std::move(stream), {});
    while (const std::unique_ptr<http::ServerExchange> exchange = co_await server.next()) {
      const bool goes_on = co_await answer(name, *exchange);
      if (!goes_on) co_return;
    }
  }
  runtime::Task<bool> answer(std::string name, http::ServerExchange& exchange) {
    const http::RequestHead& request = exchange.request();
    const std::string count(request.fields.get("x-envoy-attempt-count"));
    std::string said =
        name + " " + std::string(request.method) + " " + std::string(request.path) + " ";
    while (exchange.has_more()) {
      Result<runtime::Buffer> bytes = co_await exchange.read();
      if (!bytes) co_return false;
      said += bytes->text();
    }
    got.push_back(said + " #" + count);
    std::string what = take(name);
    if (what == "reset" || what == "refuse") {
      exchange.abort();
      co_return false;
    }
    if (what == "slow") {
      runtime::Pause pause(loop_);
      co_await pause.wait(std::chrono::milliseconds(30));
      what = "200";
    }
    if (what == "hang") {
      bool gone = false;
      runtime::Event event;
      exchange.when_gone([&] {
        gone = true;
        event.set();
      });
      co_await event.wait();
      co_return false;
    }
    http::ResponseHead head;
    if (what.starts_with("grpc ")) {
      head.fields.add("content-type", "application/grpc");
      head.fields.add("grpc-status", what.substr(5));
      co_return static_cast<bool>(co_await exchange.respond(std::move(head), true));
    }
    head.status = std::stoi(what);
    said.resize(std::min<size_t>(said.size(), 1000));
    head.fields.add("content-length", std::to_string(said.size()));
    if (!co_await exchange.respond(std::move(head), false)) co_return false;
    if (!co_await exchange.write(loop_.buffers().copy_of(said))) co_return false;
    co_return static_cast<bool>(co_await exchange.finish({}));
  }

  runtime::Loop& loop_;
  uint64_t generation_ = 1;
  weft::route::Traffic traffic_;
  Place own_{"eu", "", "", {}};
  std::vector<Host> endpoints_;
  std::map<std::string, std::deque<std::string>> scripts_;
};

// A proxy before one service, a client, and what was reported.
class ScriptedProxy : public Reporter {
 public:
  explicit ScriptedProxy(int endpoints = 1)
      : network(*loop_, endpoints),
        upstreams_(*loop_, network),
        proxy_(*loop_, config_, upstreams_, this) {}

  ScriptedNetwork& net() { return network; }
  // The routes of the service's port, as text of a route.Port.
  void routes(const std::string& text) {
    auto table = routing::Table::compile(routing::parsed<weft::route::Port>(text));
    EXPECT_TRUE(table) << table.error().to_string();
    auto service = std::make_shared<Service>();
    service->ports[80].http = *table;
    auto config = std::make_shared<Config>();
    config->services["shop/reviews"] = std::move(service);
    config_ = std::move(config);
  }
  // A whole response, as text.
  std::string ask(const std::string& head, const std::string& body = "") {
    auto [client, server] = runtime::make_memory_pipe();
    std::string request = head + "host: reviews\r\nconnection: close\r\n";
    if (!body.empty()) request += "content-length: " + std::to_string(body.size()) + "\r\n";
    loop_->spawn(proxy_.serve(std::move(server), Arrival::at("shop/reviews", 80)));
    return testing::run(*loop_, exchange(std::move(client), request + "\r\n" + body));
  }
  // So many of them at the same time.
  std::vector<std::string> ask_at_once(const std::string& head, int times) {
    std::vector<std::string> answers;
    testing::run(*loop_, exchanges(head, times, answers));
    return answers;
  }
  void wait(std::chrono::milliseconds time) { testing::run(*loop_, pause(time)); }
  std::string get(const std::string& headers = "") { return ask("GET /x HTTP/1.1\r\n" + headers); }
  // Its status and the flag that was reported: "503 UO".
  std::string outcome(const std::string& headers = "") {
    const std::string answer = get(headers);
    return (answer.size() < 12 ? "-" : answer.substr(9, 3)) + " " + flags.back();
  }
  void on_request(const Report& report) override {
    flags.emplace_back(to_string(report.flag));
    endpoints.emplace_back(report.endpoint);
  }
  std::vector<std::string> flags;
  std::vector<std::string> endpoints;

  runtime::Loop& loop() { return *loop_; }

 private:
  runtime::Task<void> pause(std::chrono::milliseconds time) {
    runtime::Pause pause(*loop_);
    co_await pause.wait(time);
  }
  runtime::Task<void> one_of(std::string head, std::vector<std::string>& answers) {
    auto [client, server] = runtime::make_memory_pipe();
    loop_->spawn(proxy_.serve(std::move(server), Arrival::at("shop/reviews", 80)));
    answers.push_back(
        co_await exchange(std::move(client), head + "host: reviews\r\nconnection: close\r\n\r\n"));
  }
  runtime::Task<void> exchanges(std::string head, int times, std::vector<std::string>& answers) {
    runtime::TaskScope scope;
    for (; times > 0; --times) scope.spawn(one_of(head, answers));
    co_await scope.join();
  }
  runtime::Task<std::string> exchange(std::unique_ptr<runtime::ByteStream> client,
                                      std::string request) {
    std::string_view left = request;
    std::string answer;
    while (!left.empty()) {
      const std::string_view part = left.substr(0, runtime::BufferPool::kBufferBytes);
      left.remove_prefix(part.size());
      if (!co_await client->write(loop_->buffers().copy_of(part))) co_return answer;
    }
    while (true) {
      Result<runtime::Buffer> bytes = co_await client->read();
      if (!bytes || bytes->empty()) co_return answer;
      answer += bytes->text();
    }
  }

  std::unique_ptr<runtime::Loop> loop_ = *runtime::Loop::create_best();

 public:
  ScriptedNetwork network;

 private:
  std::shared_ptr<const Config> config_;
  PooledUpstreams upstreams_;
  Proxy proxy_;
};

}  // namespace weft::waypoint
