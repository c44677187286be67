#pragma once

#include "agent/source/kube/api_client.h"

#include <cstdint>
#include <memory>

namespace weft::control::kube {

// An ApiClient that counts what became of the requests of another one.
class CountingClient final : public source::kube::ApiClient {
 public:
  struct Counts {
    uint64_t answered = 0;
    uint64_t refused = 0;  // by the API server: an answer from 400 on, but 404 and 409
    uint64_t failed = 0;   // no answer
  };

  explicit CountingClient(std::unique_ptr<source::kube::ApiClient> client)
      : client_(std::move(client)) {}

  runtime::Task<Result<source::kube::Response>> request(source::kube::Request request) override;
  runtime::Task<Result<std::unique_ptr<source::kube::ResponseStream>>> stream(
      source::kube::Request request) override;
  const source::kube::ApiConfig& config() const override { return client_->config(); }
  runtime::Loop& loop() override { return client_->loop(); }
  runtime::Task<void> stop() override { return client_->stop(); }

  const Counts& counts() const { return counts_; }

 private:
  void count(int status);

  const std::unique_ptr<source::kube::ApiClient> client_;
  Counts counts_;
};

}  // namespace weft::control::kube
