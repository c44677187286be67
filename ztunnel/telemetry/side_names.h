#pragma once

#include <string_view>

namespace weft::telemetry {

// The names of one side's labels, source_* or destination_*.
struct SideNames {
  std::string_view workload;
  std::string_view canonical_service;
  std::string_view canonical_revision;
  std::string_view workload_namespace;
  std::string_view principal;
  std::string_view app;
  std::string_view version;
  std::string_view cluster;
};
inline constexpr SideNames kSource{"source_workload",
                                   "source_canonical_service",
                                   "source_canonical_revision",
                                   "source_workload_namespace",
                                   "source_principal",
                                   "source_app",
                                   "source_version",
                                   "source_cluster"};
inline constexpr SideNames kDestination{"destination_workload",
                                        "destination_canonical_service",
                                        "destination_canonical_revision",
                                        "destination_workload_namespace",
                                        "destination_principal",
                                        "destination_app",
                                        "destination_version",
                                        "destination_cluster"};

}  // namespace weft::telemetry
