#include "ztunnel/node/same_node.h"

#include "ztunnel/node/application.h"

namespace weft::node {
namespace {

using runtime::Buffer;
using runtime::SocketStream;
using runtime::Task;

// The leg to the application, with the destination's half of the report.
class SameNodeStream final : public runtime::ByteStream {
 public:
  SameNodeStream(PodProxy::Guest guest, PodProxy& destination, Application application,
                 std::unique_ptr<Report> report)
      : guest_(std::move(guest)),
        destination_(destination),
        application_(std::move(application.stream)),
        breakable_(destination, [this] { break_off(); }),
        judged_(std::move(application.judged)),
        report_(std::move(report)) {
    judged_->on_rejection([this] { abort(); });
    report_->opened();
  }
  ~SameNodeStream() override {
    report_->closed(judged_->rejected() ? judged_->rejected() : destination_.end_of(broken_));
  }

  Task<Result<Buffer>> read() override {
    Buffer bytes = CO_TRY(co_await application_->read());
    report_->bytes.add_received(bytes.size());
    co_return bytes;
  }
  Task<Result<void>> write(Buffer bytes) override {
    report_->bytes.add_sent(bytes.size());
    return application_->write(std::move(bytes));
  }
  Task<Result<void>> write_pieces(std::span<Buffer> pieces) override {
    for (const Buffer& piece : pieces) report_->bytes.add_sent(piece.size());
    return application_->write_pieces(pieces);
  }
  Task<Result<void>> shutdown_write() override { return application_->shutdown_write(); }
  void abort() override { application_->abort(); }
  // The pod is leaving, or its ztunnel: unlike an abort() from our user, whose report tells why.
  void break_off() {
    broken_ = Error(Code::kCancelled, "broken");
    abort();
  }
  SocketStream* socket() override { return application_.get(); }
  void moved(uint64_t received, uint64_t sent) override {
    report_->bytes.add_received(received);
    report_->bytes.add_sent(sent);
  }

 private:
  PodProxy::Guest guest_;  // first: the destination's proxy may end with it
  PodProxy& destination_;
  std::optional<Error> broken_;
  std::unique_ptr<SocketStream> application_;
  PodProxy::Breakable breakable_;  // may abort at once: behind what that touches
  std::unique_ptr<PodProxy::Judged> judged_;
  std::unique_ptr<Report> report_;
};

}  // namespace

Task<std::expected<std::unique_ptr<runtime::ByteStream>, SameNodeError>> open_same_node(
    PodProxy& destination, std::shared_ptr<const learn::Workload> source, SocketAddress client,
    ToWorkload to) {
  PodProxy::Guest guest(destination);
  auto report =
      std::make_unique<Report>(destination.reporting(), Direction::kInbound, client, to.address);
  report->record.source.identity = source->identity;
  report->source(source);
  report->record.destination.identity = to.workload->identity;
  report->destination(to.workload);

  const ApplicationTarget target = target_of_tunnel(*to.workload, to.address, to.address);
  auto application =
      co_await open_application(destination, to.workload, source->identity, client, client, target);
  if (!application) {
    ApplicationError& refused = application.error();
    report->failed(refused.error, refused.flag);
    co_return std::unexpected(SameNodeError{std::move(refused.error), refused.flag});
  }
  co_return std::make_unique<SameNodeStream>(std::move(guest), destination, std::move(*application),
                                             std::move(report));
}

}  // namespace weft::node
