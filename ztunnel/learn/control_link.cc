#include "ztunnel/learn/control_link.h"

#include "ztunnel/base/file.h"
#include "ztunnel/runtime/socket.h"
#include "ztunnel/tls/tls_stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace weft::learn {
namespace {

using runtime::ByteStream;
using runtime::Deadline;
using runtime::Task;

constexpr std::chrono::milliseconds kConnectTimeout{5'000};     // as Istio's ztunnel
constexpr std::chrono::milliseconds kHandshakeTimeout{10'000};  // TLS, then HTTP/2

class ControlLink final : public ChannelSource {
 public:
  ControlLink(runtime::Loop& loop, ControlTarget target)
      : loop_(loop), target_(std::move(target)) {}

  Task<Result<std::unique_ptr<http::GrpcChannel>>> connect() override {
    const SocketAddress address = CO_TRY(SocketAddress::parse(target_.address));
    const std::string roots = CO_TRY(read_small_file(target_.roots_file));
    auto context = CO_TRY(tls::Context::make_client(roots));
    runtime::DialOptions options;
    options.timeout = kConnectTimeout;
    auto socket = co_await runtime::dial(loop_, address, options);
    if (!socket) co_return Fail(std::move(socket.error()));
    auto secured = co_await handshake(std::move(*socket), std::move(context));
    if (!secured) co_return Fail(std::move(secured.error()));
    co_return co_await open(std::move(*secured));
  }

  Result<std::vector<http::Header>> metadata() override {
    std::string token = TRY(read_small_file(target_.token_file));
    return std::vector<http::Header>{{"authorization", "Bearer " + token},
                                     {"clusterid", target_.cluster_id}};
  }

  void abort() override {
    aborted_ = true;
    if (connecting_ != nullptr) connecting_->abort();
  }

 private:
  // What is being set up is owned by the callee; we may break it until the callee returns, because
  // it destroys a failed stream no earlier than that.
  Task<Result<std::unique_ptr<tls::TlsStream>>> handshake(std::unique_ptr<ByteStream> transport,
                                                          std::shared_ptr<tls::Context> context) {
    if (aborted_) co_return cancelled();
    connecting_ = transport.get();
    Deadline deadline(loop_, kHandshakeTimeout, [this] { break_connecting(); });
    auto secured = co_await tls::connect_control(loop_, std::move(transport), std::move(context),
                                                 target_.server_name);
    connecting_ = nullptr;
    if (!secured && deadline.expired()) co_return timed_out("TLS");
    co_return secured;
  }

  Task<Result<std::unique_ptr<http::GrpcChannel>>> open(std::unique_ptr<tls::TlsStream> stream) {
    if (aborted_) co_return cancelled();
    connecting_ = stream.get();
    Deadline deadline(loop_, kHandshakeTimeout, [this] { break_connecting(); });
    auto channel = co_await http::GrpcChannel::open(loop_, std::move(stream), target_.server_name);
    connecting_ = nullptr;
    if (!channel && deadline.expired()) co_return timed_out("HTTP/2");
    co_return channel;
  }

  void break_connecting() {
    if (connecting_ != nullptr) connecting_->abort();
  }
  static Fail cancelled() { return fail(Code::kCancelled, "connecting to control was given up"); }
  Fail timed_out(std::string_view protocol) const {
    return fail(Code::kTimeout, std::string(protocol) + " handshake with control at " +
                                    target_.address + " took too long");
  }

  runtime::Loop& loop_;
  ControlTarget target_;
  ByteStream* connecting_ = nullptr;
  bool aborted_ = false;
};

}  // namespace

std::unique_ptr<ChannelSource> make_control_link(runtime::Loop& loop, ControlTarget target) {
  return std::make_unique<ControlLink>(loop, std::move(target));
}

}  // namespace weft::learn
