#pragma once

#include <cstddef>

// What weft-cni and the node agent say to each other, over a SOCK_SEQPACKET unix socket that only
// root may open: one packet each way, then the connection ends.
//
//   question  {"version": 1, "command": "ADD" | "DEL" | "CHECK", "container": .., "interface": ..,
//              "namespace": .., "name": .., "uid": .., "prevResult": {what the plugin before said}}
//             with the pod's network namespace as its one descriptor (a DEL may have none)
//   answer    {"state": "captured"}          the pod may start: nothing of it bypasses the mesh
//             {"state": "not in the mesh"}   it may start, and nobody minds it
//             {"error": "..", "remedy": ".."}

namespace weft::cni {

constexpr int kMessageVersion = 1;
// A configuration (plugin.h) with its names around it; an answer is some hundred bytes.
constexpr size_t kMessageBytesMax = 160 * 1024;

constexpr const char* kCaptured = "captured";
constexpr const char* kNotInMesh = "not in the mesh";

}  // namespace weft::cni
