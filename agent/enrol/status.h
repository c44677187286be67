#pragma once

#include "agent/enrol/capture.h"
#include "agent/enrol/enroller.h"
#include "agent/enrol/kubelet.h"
#include "ztunnel/base/result.h"
#include "ztunnel/runtime/loop.h"

#include <string>
#include <string_view>

namespace weft::enrol {

// The answer to GET /status, as JSON:
//   {"node": .., "pods": [{"uid", "namespace", "name", "address", "state", "why",
//    "notes": [..]}],
//    "ztunnels": [{"pid", "listeners", "snapshotSent", "podsAcked", "lastRefusal"}],
//    "probes": {"state": "let through" | "off" | what is missing, "open": 1},
//    "cni": "installed in FILE" | "waiting: .." | "failed: .." | "off",
//    "capture": {"outbound_captured": "12", ..}, "ztunnel": {what the ztunnel says of itself} }
// "ztunnel" is there where one was given; what is no JSON is given as {"error": ..}.
std::string status_json(const std::string& node, const Enroller& enroller, const Capture& capture,
                        const KubeletProbes& probes, const std::string& cni,
                        const Result<std::string>& ztunnel_status);

// GET http://127.0.0.1:15000<path> inside the ztunnel's network namespace: /status, /config_dump.
runtime::Task<Result<std::string>> fetch_from_ztunnel(runtime::Loop& loop, pid_t pid,
                                                      std::string path);

}  // namespace weft::enrol
