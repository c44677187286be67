#include "ztunnel/node/application.h"

#include "ztunnel/node/proxy_protocol.h"

namespace weft::node {

using runtime::SocketStream;
using runtime::Task;

ApplicationTarget target_of_tunnel(const learn::Workload& own, const SocketAddress& pod,
                                   const SocketAddress& asked) {
  ApplicationTarget target{asked, {pod.ip, asked.port}};
  if (const auto& tunnel = own.application_tunnel) {
    if (tunnel->port != 0) target.address.port = tunnel->port;
    target.announced = tunnel->proxy_protocol;
  }
  return target;
}

ApplicationTarget target_of_plain(const learn::Workload& own, const SocketAddress& asked) {
  const auto& tunnel = own.application_tunnel;
  return {.asked = asked,
          .address = asked,
          .announced = tunnel && tunnel->proxy_protocol && tunnel->port == asked.port,
          .beside_client = true};
}

Task<std::expected<Application, ApplicationError>> open_application(
    PodProxy& proxy, std::shared_ptr<const learn::Workload> own, std::optional<SpiffeId> identity,
    SocketAddress peer, SocketAddress client, ApplicationTarget target,
    std::vector<tls::CertificateId> certificates) {
  auto judged = std::make_unique<PodProxy::Judged>(
      proxy, policy::Connection{identity, client.ip, target.address}, std::move(certificates));
  if (Result<void> allowed = judged->judge(*own); !allowed) {
    co_return std::unexpected(ApplicationError{std::move(allowed.error()), Flag::kDenied});
  }
  auto stream = co_await (target.beside_client ? proxy.dial_beside(client, target.address)
                                               : proxy.dial_application(client, target.address));
  if (stream && target.announced) {
    const std::string header = proxy_header(peer, target.asked, identity ? &*identity : nullptr);
    Result<void> written =
        co_await (*stream)->write(proxy.context().loop.buffers().copy_of(header));
    if (!written) stream = Fail(std::move(written.error()));
  }
  if (judged->rejected()) {
    co_return std::unexpected(ApplicationError{*judged->rejected(), Flag::kDenied});
  }
  if (!stream) {
    co_return std::unexpected(ApplicationError{std::move(stream.error()), Flag::kConnect});
  }
  co_return Application{std::move(*stream), std::move(judged)};
}

}  // namespace weft::node
