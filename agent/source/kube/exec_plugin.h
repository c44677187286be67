#pragma once

#include "agent/source/kube/config.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace weft::source::kube {

// What an exec plugin prints: the status of an ExecCredential.
struct ExecCredential {
  std::string token;            // at least this,
  std::string certificate_pem;  // or both of these
  std::string key_pem;
  std::optional<std::chrono::system_clock::time_point> expires;  // none: good until it is refused
};

// Reads what was printed. kInvalid says which field of what version was expected.
Result<ExecCredential> parse_exec_credential(std::string_view json, const ExecPlugin& plugin);

// Runs the plugin to its end, without a terminal, and reads what it prints (at most 1 MiB). An
// error says what was run, how it ended and its first words, and the plugin's install hint where it
// is not there. It is killed after kTimeout.
runtime::Task<Result<ExecCredential>> run_exec_plugin(runtime::Loop& loop, ApiConfig config);

}  // namespace weft::source::kube
