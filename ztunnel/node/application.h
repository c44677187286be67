#pragma once

#include "ztunnel/node/pod_proxy.h"

#include <expected>
#include <memory>

namespace weft::node {

// Where a connection to a pod arrives. Mostly where its client wanted to go; a workload with an
// application tunnel takes everything on one port, behind a PROXY protocol header that says where.
struct ApplicationTarget {
  SocketAddress asked;     // a CONNECT's authority, or where a plain connection went
  SocketAddress address;   // of the application
  bool announced = false;  // behind a header
  // The client's own connection ends here, in the pod, with the same addresses and ports.
  bool beside_client = false;
};

ApplicationTarget target_of_tunnel(const learn::Workload& own, const SocketAddress& pod,
                                   const SocketAddress& asked);
// Plain text goes where it went. On the tunnel's own port it gets a header too, without an
// identity: the application there trusts what it reads first, and that must be ours.
ApplicationTarget target_of_plain(const learn::Workload& own, const SocketAddress& asked);

// The leg to the application, and what watches whether it stays allowed.
struct Application {
  std::unique_ptr<runtime::SocketStream> stream;
  std::unique_ptr<PodProxy::Judged> judged;
};

// Flag::kDenied: policy says no. Flag::kConnect: nobody answered.
struct ApplicationError {
  Error error;
  Flag flag;
};

// Judges a connection to the pod and connects to its application, as `client` (port 0: any port of
// that address; `peer` is what the header says). `certificates`: the peer's, see PodProxy::Judged.
runtime::Task<std::expected<Application, ApplicationError>> open_application(
    PodProxy& proxy, std::shared_ptr<const learn::Workload> own, std::optional<SpiffeId> identity,
    SocketAddress peer, SocketAddress client, ApplicationTarget target,
    std::vector<tls::CertificateId> certificates = {});

}  // namespace weft::node
