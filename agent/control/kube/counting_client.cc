#include "agent/control/kube/counting_client.h"

namespace weft::control::kube {

using runtime::Task;
using source::kube::Request;
using source::kube::Response;
using source::kube::ResponseStream;

void CountingClient::count(int status) {
  const bool is_usual = status < 400 || status == 404 || status == 409;
  ++(is_usual ? counts_.answered : counts_.refused);
}

Task<Result<Response>> CountingClient::request(Request request) {
  auto answer = co_await client_->request(std::move(request));
  if (answer) {
    count(answer->status);
  } else {
    ++counts_.failed;
  }
  co_return answer;
}

Task<Result<std::unique_ptr<ResponseStream>>> CountingClient::stream(Request request) {
  auto answer = co_await client_->stream(std::move(request));
  if (answer) {
    count((*answer)->head().status);
  } else {
    ++counts_.failed;
  }
  co_return answer;
}

}  // namespace weft::control::kube
