#include "agent/control/grpc_server.h"

#include "ztunnel/base/fd.h"
#include "ztunnel/base/log.h"

#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>
#include <sys/socket.h>

#include <cerrno>
#include <mutex>

namespace weft::control {
namespace {

// A reconnecting node's initial_resource_versions: about 100 bytes a resource, so over 100 000.
constexpr int kRequestBytesMax = 16 * 1024 * 1024;
// What gRPC may hold for all connections together before it stops reading from them.
constexpr size_t kMemoryBytesMax = 1024UL * 1024 * 1024;
// A node has one ADS stream and up to eight certificate requests at a time.
constexpr int kStreamsPerConnectionMax = 100;
constexpr int kHandshakeTimeoutMs = 10'000;
constexpr int kIdleConnectionMs = 5 * 60 * 1000;  // without any call; an ADS stream is one
// Nodes ping every 30 s; one that does not answer ours is gone.
constexpr int kClientPingIntervalMinMs = 10'000;
constexpr int kPingIntervalMs = 60'000;
constexpr int kPingTimeoutMs = 20'000;

// gRPC's own log, which says at "error" what happens to single connections.
void to_our_log(gpr_log_func_args* args) {
  log::debug("grpc").field("file", args->file).field("line", args->line).say(args->message);
}

// gRPC says only that it could not bind; this says why.
Result<void> try_bind(const SocketAddress& address) {
  sockaddr_storage raw{};
  const socklen_t length = address.to_sockaddr(raw);
  const Fd probe(::socket(raw.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!probe) return fail_errno(errno, "making a socket");
  const int on = 1;
  ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(probe.get(), reinterpret_cast<const sockaddr*>(&raw), length) == 0) return {};
  const int reason = errno;
  Error error = errno_error(reason, "listening on " + address.to_string());
  if (reason == EADDRINUSE) error.message += ": is another weft-agent control running?";
  return Fail(std::move(error));
}

void set_bounds(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kRequestBytesMax);
  builder.SetMaxSendMessageSize(-1);  // a full mesh is one response; the client has its own bound
  builder.SetResourceQuota(grpc::ResourceQuota("control").Resize(kMemoryBytesMax));
  // Without this a second control would share the port instead of failing.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleConnectionMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kClientPingIntervalMinMs);
}

}  // namespace

GrpcServer::~GrpcServer() { shutdown(std::chrono::milliseconds::zero()); }

Result<GrpcServer> GrpcServer::start(const SocketAddress& listen,
                                     const std::shared_ptr<grpc::ServerCredentials>& credentials,
                                     const std::vector<grpc::Service*>& services) {
  static std::once_flag once;
  std::call_once(once, [] { gpr_set_log_function(to_our_log); });
  TRY(try_bind(listen));
  int port = 0;
  grpc::ServerBuilder builder;
  set_bounds(builder);
  builder.AddListeningPort(listen.to_string(), credentials, &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  GrpcServer made;
  made.server_ = builder.BuildAndStart();
  if (!made.server_ || port == 0) {
    return fail(Code::kUnavailable, "gRPC does not start on " + listen.to_string());
  }
  made.address_ = {listen.ip, static_cast<uint16_t>(port)};
  return made;
}

void GrpcServer::shutdown(std::chrono::milliseconds grace) {
  if (!server_) return;
  server_->Shutdown(std::chrono::system_clock::now() + grace);
  server_->Wait();
  server_.reset();
}

}  // namespace weft::control
