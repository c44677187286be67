#include "tests/unit/ztunnel/learn/fake_control.h"

#include "ztunnel/base/check.h"

#include <thread>

namespace weft::learn::testing {
namespace {

std::map<std::string, std::string> metadata_of(const grpc::ServerContext& context) {
  std::map<std::string, std::string> result;
  for (const auto& [name, value] : context.client_metadata()) {
    result[{name.data(), name.size()}] = {value.data(), value.size()};
  }
  return result;
}

}  // namespace

class FakeControl::Ads final
    : public envoy::service::discovery::v3::AggregatedDiscoveryService::Service {
 public:
  explicit Ads(FakeControl& control) : control_(control) {}
  grpc::Status DeltaAggregatedResources(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<DeltaResponse, DeltaRequest>* stream) override {
    return control_.serve_stream(*context, *stream);
  }

 private:
  FakeControl& control_;
};

class FakeControl::Ca final : public istio::v1::auth::IstioCertificateService::Service {
 public:
  explicit Ca(FakeControl& control) : control_(control) {}
  grpc::Status CreateCertificate(grpc::ServerContext* context,
                                 const istio::v1::auth::IstioCertificateRequest* request,
                                 istio::v1::auth::IstioCertificateResponse* response) override {
    return control_.create(*context, *request, *response);
  }

 private:
  FakeControl& control_;
};

FakeControl::FakeControl() : ads_(std::make_unique<Ads>(*this)), ca_(std::make_unique<Ca>(*this)) {}

FakeControl::~FakeControl() { stop(); }

void FakeControl::start() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = false;
  }
  const auto certificate = authority_.issue_pem("", {.dns_names = {"control.test"}});
  grpc::SslServerCredentialsOptions options;
  options.pem_key_cert_pairs.push_back({certificate.key_pem, certificate.certificate_pem});
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address(), grpc::SslServerCredentials(options), &port_);
  builder.RegisterService(ads_.get());
  builder.RegisterService(ca_.get());
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr);
}

void FakeControl::stop() {
  if (server_ == nullptr) return;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    to_send_.clear();
  }
  changed_.notify_all();
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

grpc::Status FakeControl::serve_stream(
    grpc::ServerContext& context, grpc::ServerReaderWriter<DeltaResponse, DeltaRequest>& stream) {
  std::unique_lock lock(mutex_);
  const int number = ++streams_;
  bool ended = false;
  std::thread reader([&] {
    DeltaRequest request;
    while (stream.Read(&request)) {
      const std::scoped_lock reading(mutex_);
      asked_.push_back({request, metadata_of(context), number});
      changed_.notify_all();
    }
    const std::scoped_lock reading(mutex_);
    ended = true;
    changed_.notify_all();
  });
  while (!ended && !stopping_) {
    if (to_send_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const DeltaResponse response = std::move(to_send_.front());
    to_send_.pop_front();
    lock.unlock();
    stream.Write(response);
    lock.lock();
  }
  lock.unlock();
  context.TryCancel();
  reader.join();
  return grpc::Status::OK;
}

FakeControl::Asked FakeControl::next_request() {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_for(lock, std::chrono::seconds(20), [this] { return !asked_.empty(); })) {
    return {};
  }
  Asked asked = std::move(asked_.front());
  asked_.pop_front();
  return asked;
}

void FakeControl::push(DeltaResponse response) {
  const std::scoped_lock lock(mutex_);
  to_send_.push_back(std::move(response));
  changed_.notify_all();
}

grpc::Status FakeControl::create(grpc::ServerContext& context,
                                 const istio::v1::auth::IstioCertificateRequest& request,
                                 istio::v1::auth::IstioCertificateResponse& response) {
  const std::scoped_lock lock(mutex_);
  ++certificates_.calls;
  certificates_.metadata = metadata_of(context);
  const auto& fields = request.metadata().fields();
  const auto name = fields.find("ImpersonatedIdentity");
  certificates_.identity = name == fields.end() ? "" : name->second.string_value();
  certificates_.lifetime_s = request.validity_duration();
  if (refusal_) return *refusal_;
  const auto chain =
      authority_.sign(request.csr(), certificates_.identity,
                      {.valid_from = std::chrono::seconds(0), .valid_until = sign_for_});
  for (const std::string& pem : chain) response.add_cert_chain(pem);
  return grpc::Status::OK;
}

FakeControl::Certificates FakeControl::certificates() const {
  const std::scoped_lock lock(mutex_);
  return certificates_;
}

void FakeControl::refuse_certificates(std::optional<grpc::Status> status) {
  const std::scoped_lock lock(mutex_);
  refusal_ = std::move(status);
}

void FakeControl::sign_for(std::chrono::seconds lifetime) {
  const std::scoped_lock lock(mutex_);
  sign_for_ = lifetime;
}

}  // namespace weft::learn::testing
