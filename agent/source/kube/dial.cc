#include "agent/source/kube/dial.h"

#include "agent/source/files.h"
#include "ztunnel/dns/resolver.h"
#include "ztunnel/runtime/socket.h"

#include <sstream>

namespace weft::source::kube {
namespace {

using runtime::ByteStream;
using runtime::Task;

constexpr const char* kHosts = "/etc/hosts";
constexpr const char* kResolvConf = "/etc/resolv.conf";
constexpr std::chrono::milliseconds kResolveTimeout{5'000};
// Within one data center; a server that is away is tried again anyway.
constexpr std::chrono::milliseconds kConnectTimeout{5'000};

Task<Result<std::vector<IpAddress>>> resolve(runtime::Loop& loop, std::string host) {
  if (const auto literal = IpAddress::parse(host)) {
    co_return std::vector<IpAddress>{*literal};
  }
  if (const auto hosts = read_file(kHosts)) {
    auto found = addresses_in_hosts(*hosts, host);
    if (!found.empty()) co_return found;
  }
  dns::Resolver resolver(loop, kResolvConf);
  auto addresses = co_await resolver.resolve(host, dns::Families::kV4ThenV6, kResolveTimeout);
  co_await resolver.stop();
  if (!addresses) co_return Fail(std::move(addresses.error()).in("looking up " + host));
  co_return addresses;
}

Task<Result<std::unique_ptr<ByteStream>>> connect_any(runtime::Loop& loop,
                                                      std::vector<IpAddress> addresses,
                                                      uint16_t port) {
  std::optional<Error> latest;
  for (const IpAddress& address : addresses) {
    runtime::DialOptions options;
    options.timeout = kConnectTimeout;
    auto socket = co_await runtime::dial(loop, SocketAddress{address, port}, options);
    if (socket) co_return std::unique_ptr<ByteStream>(std::move(*socket));
    latest = std::move(socket.error()).in("connecting to " + address.to_string());
  }
  co_return Fail(latest.value_or(Error(Code::kNotFound, "the name has no address")));
}

Task<Result<std::unique_ptr<ByteStream>>> dial_steps(runtime::Loop& loop, const ApiConfig& config,
                                                     Credentials& credentials) {
  const tls::ClientTls tls = CO_TRY(co_await credentials.tls());
  auto context = CO_TRY(tls::Context::make_client(tls));
  auto addresses = CO_TRY(co_await resolve(loop, config.host));
  auto socket = CO_TRY(co_await connect_any(loop, std::move(addresses), config.port));
  const std::string& name = config.server_name.empty() ? config.host : config.server_name;
  auto secured =
      CO_TRY(co_await tls::connect_control(loop, std::move(socket), std::move(context), name));
  co_return std::unique_ptr<ByteStream>(std::move(secured));
}

}  // namespace

std::vector<IpAddress> addresses_in_hosts(std::string_view hosts, std::string_view name) {
  std::vector<IpAddress> found;
  std::istringstream lines{std::string(hosts)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string address;
    words >> address;
    for (std::string word; words >> word;) {
      if (word != name) continue;
      if (const auto parsed = IpAddress::parse(address)) found.push_back(*parsed);
    }
  }
  return found;
}

Task<Result<std::unique_ptr<ByteStream>>> dial_server(runtime::Loop& loop, const ApiConfig& config,
                                                      Credentials& credentials) {
  auto dialled = co_await dial_steps(loop, config, credentials);
  if (dialled) co_return dialled;
  co_return Fail(std::move(dialled.error())
                     .in("API server " + config.authority() + " (" + config.origin + ")"));
}

}  // namespace weft::source::kube
