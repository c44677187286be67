#pragma once

#include "agent/source/kube/api_client.h"
#include "ztunnel/runtime/sync.h"

#include <functional>
#include <string>
#include <vector>

namespace weft::control::kube {

// An API server as a function: what it answers, and what it was asked.
class FakeApi final : public source::kube::ApiClient {
 public:
  using Request = source::kube::Request;
  using Response = source::kube::Response;
  using Answer = std::function<Result<Response>(const Request&)>;

  explicit FakeApi(runtime::Loop& loop) : loop_(loop) {}

  Answer answer = [](const Request&) { return Response{404, "{}", {}}; };
  std::vector<Request> asked;
  // While it is set, requests wait for gate.set().
  bool is_gated = false;
  runtime::Event gate;

  runtime::Task<Result<Response>> request(Request request) override {
    asked.push_back(request);
    if (is_gated) co_await gate.wait();
    co_return answer(request);
  }
  runtime::Task<Result<std::unique_ptr<source::kube::ResponseStream>>> stream(Request) override {
    co_return fail(Code::kUnavailable, "no streams here");
  }
  const source::kube::ApiConfig& config() const override { return config_; }
  runtime::Loop& loop() override { return loop_; }
  runtime::Task<void> stop() override { co_return; }

 private:
  runtime::Loop& loop_;
  source::kube::ApiConfig config_;
};

inline source::kube::Response answered(int status, std::string body = "{}") {
  return {status, std::move(body), {}};
}

}  // namespace weft::control::kube
