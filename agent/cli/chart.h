#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/base/result.h"

#include <string_view>

namespace weft::cli {

// The Helm chart, with its CRDs, as the archive (.tgz) that `helm package` would make; part of this
// program, so that what is installed and what installs it are one version.
std::string_view chart_archive();

// The archive as a file without a name, which a program that is executed next can read as
// /proc/self/fd/N.
Result<Fd> open_chart();

}  // namespace weft::cli
