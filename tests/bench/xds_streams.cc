// Nodes' xDS streams for scale.py: ztunnel's own client on one thread, since the mesh of a large
// cluster takes a client in Python longer to read than control to send.
//
//   bench_xds_streams IP:PORT SERVER_NAME ROOTS_FILE TOKEN_FILE STREAMS
//
// Opens them all at once, each over a connection of its own, and subscribes to everything. Says by
// lines of JSON when each has its first set (seconds since it began to connect), and then, for each
// Address that every stream was told, when the first and the last of them heard (CLOCK_MONOTONIC).
// Ends with its standard input.

#include "proto/xds.pb.h"
#include "ztunnel/learn/control_link.h"

#include <google/protobuf/io/coded_stream.h>
#include <poll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

namespace weft {
namespace {

using envoy::service::discovery::v3::DeltaDiscoveryRequest;
using envoy::service::discovery::v3::DeltaDiscoveryResponse;

constexpr const char* kPath =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
constexpr const char* kAddress = "type.googleapis.com/istio.workload.Address";
constexpr const char* kAuthorization = "type.googleapis.com/istio.security.Authorization";

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A response's type and nonce alone: with a hundred streams on one thread, reading every resource
// of a first set would be what is measured.
bool skim(const std::string& message, DeltaDiscoveryResponse& response) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(message.data()),
                                            static_cast<int>(message.size()));
  while (const uint32_t tag = in.ReadTag()) {
    uint32_t size = 0;
    if ((tag & 7) != 2 || !in.ReadVarint32(&size)) return false;
    const auto field = tag >> 3;
    const bool wanted = field == DeltaDiscoveryResponse::kTypeUrlFieldNumber ||
                        field == DeltaDiscoveryResponse::kNonceFieldNumber;
    if (!wanted) {
      if (!in.Skip(static_cast<int>(size))) return false;
      continue;
    }
    auto& text = field == DeltaDiscoveryResponse::kTypeUrlFieldNumber ? *response.mutable_type_url()
                                                                      : *response.mutable_nonce();
    if (!in.ReadString(&text, static_cast<int>(size))) return false;
  }
  return !response.type_url().empty();
}

struct Heard {
  size_t streams = 0;
  double first = 0;
};

struct Bench {
  runtime::Loop& loop;
  learn::ControlTarget target;
  size_t streams = 0;
  std::map<std::string, Heard> heard{};
};

std::string request(const std::string& type, const std::string& nonce) {
  DeltaDiscoveryRequest request;
  request.set_type_url(type);
  request.set_response_nonce(nonce);
  return request.SerializeAsString();
}

void tell(Bench& bench, const DeltaDiscoveryResponse& response) {
  const double at = now();
  for (const auto& one : response.resources()) {
    const std::string key = one.name() + "@" + one.version();
    Heard& heard = bench.heard[key];
    if (heard.streams++ == 0) heard.first = at;
    if (heard.streams < bench.streams) continue;
    std::printf("{\"name\": \"%s\", \"first\": %.6f, \"last\": %.6f, \"bytes\": %zu}\n",
                one.name().c_str(), heard.first, at, response.ByteSizeLong());
    std::fflush(stdout);
    bench.heard.erase(key);
  }
}

runtime::Task<Result<void>> session(Bench& bench) {
  const double began = now();
  const auto link = learn::make_control_link(bench.loop, bench.target);
  auto metadata = CO_TRY(link->metadata());
  auto channel = co_await link->connect();
  if (!channel) co_return Fail(std::move(channel.error()));
  auto stream = co_await (*channel)->open_stream(kPath, std::move(metadata));
  if (!stream) co_return Fail(std::move(stream.error()));
  CO_TRY(co_await (*stream)->send(request(kAuthorization, "")));
  CO_TRY(co_await (*stream)->send(request(kAddress, "")));
  size_t bytes = 0;
  for (size_t responses = 1;; ++responses) {
    const std::string message = CO_TRY(co_await (*stream)->receive());
    const double came = now();
    bytes += message.size();
    DeltaDiscoveryResponse response;
    const bool is_first_of_many = responses <= 2 && bench.streams > 1;
    if (!(is_first_of_many ? skim(message, response) : response.ParseFromString(message))) {
      co_return fail(Code::kInvalid, "expected a DeltaDiscoveryResponse");
    }
    CO_TRY(co_await (*stream)->send(request(response.type_url(), response.nonce())));
    // One of each type, Authorizations first.
    if (responses == 2) {
      std::printf("{\"synced\": %.6f, \"came\": %.6f, \"bytes\": %zu}\n", now() - began,
                  came - began, bytes);
      std::fflush(stdout);
    }
    if (responses > 2 && response.type_url() == kAddress) tell(bench, response);
  }
}

runtime::Task<void> run(Bench& bench) {
  const Result<void> ended = co_await session(bench);
  std::fprintf(stderr, "a stream ended: %s\n", ended.error().to_string().c_str());
  std::_Exit(1);
}

runtime::Task<void> until_input_ends(Bench& bench) {
  co_await bench.loop.poll(STDIN_FILENO, POLLIN | POLLHUP);
  std::_Exit(0);  // what is open ends with us
}

int run_all(char** arguments) {
  auto loop = runtime::Loop::create_best();
  if (!loop) {
    std::fprintf(stderr, "%s\n", loop.error().to_string().c_str());
    return 1;
  }
  Bench bench{**loop,
              {.address = arguments[1],
               .server_name = arguments[2],
               .roots_file = arguments[3],
               .token_file = arguments[4],
               .cluster_id = "Kubernetes"},
              std::strtoul(arguments[5], nullptr, 10)};
  for (size_t i = 0; i < bench.streams; ++i) (*loop)->spawn(run(bench));
  (*loop)->spawn(until_input_ends(bench));
  (*loop)->run();
  return 0;
}

}  // namespace
}  // namespace weft

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: %s IP:PORT SERVER_NAME ROOTS_FILE TOKEN_FILE STREAMS\n", argv[0]);
    return 2;
  }
  return weft::run_all(argv);
}
