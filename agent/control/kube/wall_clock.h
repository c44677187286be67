#pragma once

#include <string>

namespace weft::control::kube {

// Now, as a metav1.MicroTime: "2026-01-02T03:04:05.000006Z".
std::string wall_clock_now();

}  // namespace weft::control::kube
