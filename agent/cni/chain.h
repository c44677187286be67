#pragma once

#include "ztunnel/base/result.h"

#include <string>
#include <string_view>
#include <vector>

// The node's CNI configuration with weft-cni in it, as text. Pure.
//
// A runtime takes the first file of its folder by name. The primary plugin's own file stays
// untouched; ours stands right before it ("10-calico-weft.conflist" sorts before
// "10-calico.conflist" and
// ".conf"), says the same and has weft-cni behind the other plugins. So an installer that writes
// the primary's file anew, as most do at every start of the node, opens no gap in which pods start
// uncaptured, and taking weft-cni away is to delete one file.

namespace weft::cni {

// What weft-cni is told (plugin.h).
struct PluginEntry {
  std::string socket;
  std::vector<std::string> exclude_namespaces;
};

// A configuration has some kilobytes; what is longer is none.
constexpr size_t kConfFileBytesMax = 1 << 20;

// Whether a runtime reads a file of this name (.conf, .conflist, .json), and whether it is ours.
bool is_conf_name(std::string_view name);
bool is_our_name(std::string_view name);
// The file that the runtime would take if ours were not there; empty: none is there.
std::string primary_of(const std::vector<std::string>& names);
// Our file's name for a primary's. Both stand in one folder.
std::string chained_name(std::string_view primary);

// Our file's text. Everything that the primary's says is kept, what nobody knows too. kInvalid: it
// is no configuration; kUnsupported: of a version in which plugins cannot be chained (before
// 0.3.0), or it has weft-cni already.
Result<std::string> chained_text(std::string_view primary, const PluginEntry& entry);
// Whether a file holds weft-cni at its end, as chained_text() writes it.
bool is_chained(std::string_view text);

}  // namespace weft::cni
