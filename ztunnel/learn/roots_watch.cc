#include "ztunnel/learn/roots_watch.h"

#include "ztunnel/base/file.h"
#include "ztunnel/base/log.h"
#include "ztunnel/learn/control_link.h"
#include "ztunnel/tls/credentials.h"

namespace weft::learn {

runtime::Task<void> RootsWatch::run() {
  while (!stopped_) {
    look();
    co_await pause_.wait(kInterval);
  }
}

void RootsWatch::stop() {
  stopped_ = true;
  pause_.wake();
}

void RootsWatch::look() {
  auto text = read_small_file(file_);
  if (!text || *text == text_) return;
  text_ = std::move(*text);
  const auto roots = tls::facts_of(text_);
  if (!roots) {
    log::warn("identity")
        .field("file", file_)
        .field("error", roots.error().to_string())
        .say("the roots have changed and cannot be read; certificates stay as they are");
    return;
  }
  std::string pem;
  for (const tls::CertificateFacts& root : *roots) pem += root.pem;
  on_roots_(std::move(pem));
}

}  // namespace weft::learn
