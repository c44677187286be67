// The waypoint's HTTP proxy alone: plain TCP in and out, no mesh. For scripts/bench l7.
//   bench_l7_proxy LISTEN UPSTREAM [--routes FILE] [--backend uring|epoll] [--http2]
// LISTEN and UPSTREAM are "ip:port"; --http2 speaks HTTP/2 to the upstream HTTP/1.1 else.

#include "ztunnel/base/file.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/waypoint/pooled_upstreams.h"
#include "ztunnel/waypoint/proxy.h"

#include <google/protobuf/text_format.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace weft::bench {
namespace {

using runtime::Task;

constexpr int kBacklog = 4096;
constexpr size_t kRoutesBytesMax = 16U << 20;
constexpr std::string_view kService = "bench/app";
constexpr uint16_t kPort = 80;

class PlainNetwork final : public waypoint::Network {
 public:
  PlainNetwork(runtime::Loop& loop, SocketAddress upstream, route::Port::Protocol protocol)
      : loop_(loop), upstream_(upstream), protocol_(protocol) {}

  uint64_t generation() const override { return 1; }
  std::vector<waypoint::Host> endpoints(const route::Destination&) override {
    return {{upstream_, upstream_.to_string(), nullptr}};
  }
  route::Port::Protocol protocol(const route::Destination&) override { return protocol_; }
  const route::Traffic* traffic(const route::Destination&) override { return nullptr; }
  Task<Result<std::unique_ptr<runtime::ByteStream>>> dial(
      const waypoint::Host& endpoint, const route::Traffic&,
      std::chrono::milliseconds timeout) override {
    runtime::DialOptions options;
    options.timeout = timeout;
    co_return CO_TRY(co_await runtime::dial(loop_, endpoint.address, options));
  }

 private:
  runtime::Loop& loop_;
  SocketAddress upstream_;
  route::Port::Protocol protocol_;
};

struct Flags {
  SocketAddress listen;
  SocketAddress upstream;
  std::string backend = "uring";
  std::string routes;  // a file
  bool http2 = false;
};

Result<Flags> parse(const std::vector<std::string>& args) {
  if (args.size() < 2) return fail(Code::kInvalid, "expected LISTEN and UPSTREAM");
  Flags flags;
  flags.listen = TRY(SocketAddress::parse(args[0]));
  flags.upstream = TRY(SocketAddress::parse(args[1]));
  for (size_t i = 2; i < args.size(); ++i) {
    if (args[i] == "--http2") {
      flags.http2 = true;
    } else if (args[i] == "--routes" && i + 1 < args.size()) {
      flags.routes = args[++i];
    } else if (args[i] == "--backend" && i + 1 < args.size()) {
      flags.backend = args[++i];
    } else {
      return fail(Code::kInvalid, "unknown flag " + args[i]);
    }
  }
  return flags;
}

// One service whose port has the routes that the file says, a route.Port as text.
Result<std::shared_ptr<const waypoint::Config>> config_of(const std::string& routes) {
  auto config = std::make_shared<waypoint::Config>();
  if (routes.empty()) return config;
  route::Port port;
  const std::string text = TRY(read_file(routes, kRoutesBytesMax));
  if (!google::protobuf::TextFormat::ParseFromString(text, &port)) {
    return fail(Code::kInvalid, routes + " is no route.Port");
  }
  auto service = std::make_shared<waypoint::Service>();
  service->key = kService;
  service->ports[kPort].http = TRY(routing::Table::compile(port));
  config->services[service->key] = service;
  return config;
}

Result<void> run(const Flags& flags) {
  const auto backend =
      flags.backend == "epoll" ? runtime::Backend::kEpoll : runtime::Backend::kUring;
  const std::unique_ptr<runtime::Loop> loop = TRY(runtime::Loop::create(backend));
  const Fd listener = TRY(runtime::listen_in(-1, flags.listen, kBacklog));
  PlainNetwork network(*loop, flags.upstream,
                       flags.http2 ? route::Port::HTTP2 : route::Port::HTTP1);
  waypoint::PooledUpstreams upstreams(*loop, network);
  const std::shared_ptr<const waypoint::Config> config = TRY(config_of(flags.routes));
  waypoint::Proxy proxy(*loop, config, upstreams, nullptr);
  runtime::Acceptor acceptor(*loop, listener.get(), [&](Fd connection) {
    return proxy.serve(std::make_unique<runtime::SocketStream>(*loop, std::move(connection)),
                       waypoint::Arrival::at(std::string(kService), kPort));
  });
  loop->spawn(acceptor.run());
  loop->run();
  return {};
}

}  // namespace
}  // namespace weft::bench

int main(int argc, char** argv) {
  const weft::Result<weft::bench::Flags> flags =
      weft::bench::parse(std::vector<std::string>(argv + 1, argv + argc));
  const weft::Result<void> done =
      flags ? weft::bench::run(*flags) : weft::Result<void>(weft::Fail(flags.error()));
  if (done) return 0;
  std::fprintf(stderr, "bench_l7_proxy: %s\n", done.error().to_string().c_str());
  return 1;
}
