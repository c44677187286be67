#pragma once

#include "ztunnel/base/flags.h"
#include "ztunnel/learn/view.h"
#include "ztunnel/runtime/loop.h"

#include <memory>
#include <vector>

// The flags that every role has, and what they make.

namespace weft::role {

const std::vector<weft::Flag>& common_flags();

Result<void> set_log_level(const Flags& flags);
Result<std::unique_ptr<runtime::Loop>> make_loop(const Flags& flags);
// Whom to learn from, and as whom: what depends on the role is left empty.
Result<learn::LearnerConfig> common_config(const Flags& flags);

}  // namespace weft::role
