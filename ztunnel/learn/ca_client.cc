#include "ztunnel/learn/ca_client.h"

#include "proto/ca.pb.h"

namespace weft::learn {
namespace {

using runtime::Task;

constexpr std::string_view kPath = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
constexpr std::chrono::milliseconds kCallTimeout{10'000};
constexpr std::chrono::milliseconds kCloseTimeout{1'000};

std::string request_for(const std::string& csr_pem, const SpiffeId& identity,
                        std::chrono::seconds lifetime) {
  istio::v1::auth::IstioCertificateRequest request;
  request.set_csr(csr_pem);
  request.set_validity_duration(lifetime.count());
  auto& fields = *request.mutable_metadata()->mutable_fields();
  fields["ImpersonatedIdentity"].set_string_value(identity.to_string());
  return request.SerializeAsString();
}

Result<std::vector<std::string>> read_response(const std::string& bytes) {
  istio::v1::auth::IstioCertificateResponse response;
  if (!response.ParseFromString(bytes)) {
    return fail(Code::kInvalid, "the CA answered with what is not an IstioCertificateResponse");
  }
  return std::vector<std::string>(response.cert_chain().begin(), response.cert_chain().end());
}

}  // namespace

Task<std::shared_ptr<CaClient::Connection>> CaClient::acquire() {
  if (current_ != nullptr) {
    const std::shared_ptr<Connection> shared = current_;
    ++shared->users;
    co_await shared->ready.wait();
    co_return shared;
  }
  const auto made = std::make_shared<Connection>();
  current_ = made;
  ++made->users;
  auto channel = co_await source_.connect();
  if (channel) {
    made->channel = std::move(*channel);
    open_.push_back(made->channel.get());
    if (aborted_) made->channel->abort();
  } else {
    made->error = std::move(channel.error());
    if (current_ == made) current_.reset();
  }
  made->ready.set();
  co_return made;
}

Task<void> CaClient::release(std::shared_ptr<Connection> connection) {
  if (--connection->users > 0) co_return;
  if (current_ == connection) current_.reset();
  http::GrpcChannel* const channel = connection->channel.get();
  if (channel == nullptr) co_return;
  {
    runtime::Deadline deadline(loop_, kCloseTimeout, [channel] { channel->abort(); });
    co_await channel->close();
  }
  std::erase(open_, channel);
}

Task<Result<std::vector<std::string>>> CaClient::create_certificate(std::string csr_pem,
                                                                    SpiffeId identity,
                                                                    std::chrono::seconds lifetime) {
  if (aborted_) co_return fail(Code::kCancelled, "asking the CA was given up");
  auto metadata = CO_TRY(source_.metadata());
  const std::shared_ptr<Connection> connection = co_await acquire();
  Result<std::string> answer = Fail(connection->error);
  if (connection->channel != nullptr) {
    answer =
        co_await connection->channel->call(std::string(kPath), std::move(metadata),
                                           request_for(csr_pem, identity, lifetime), kCallTimeout);
    // Whoever comes next gets a connection of its own: this one may be what is broken.
    if (!answer && current_ == connection) current_.reset();
  }
  co_await release(connection);
  if (!answer) co_return Fail(std::move(answer.error()));
  co_return read_response(*answer);
}

void CaClient::abort() {
  aborted_ = true;
  source_.abort();
  for (http::GrpcChannel* channel : open_) channel->abort();
}

}  // namespace weft::learn
