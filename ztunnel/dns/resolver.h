#pragma once

#include "ztunnel/base/ip.h"
#include "ztunnel/dns/resolv_conf.h"
#include "ztunnel/runtime/loop.h"
#include "ztunnel/runtime/sync.h"

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace weft::dns {

class Exchange;

enum class Families : uint8_t { kV4, kV6, kV4ThenV6, kV6ThenV4 };

// Resolves host names by the servers of a resolv.conf. Names are absolute: no search list. Keeps
// answers for as long as they say, within bounds; asks once where many ask at the same time.
// Belongs to one loop's thread.
class Resolver {
 public:
  static constexpr size_t kNamesMax = 4096;  // host names of a mesh's ServiceEntries, 1 MiB at most
  static constexpr size_t kAddressesMax = 64;  // of one name and family; what is more is left out
  static constexpr size_t kLookupsMax = 256;   // at a time: each holds a descriptor
  // An answer is kept at least so long, so that a time to live of 0 does not ask for every
  // connection, and at most so long, so that a mistake in a zone does not last.
  static constexpr std::chrono::seconds kKeepMin{1};
  static constexpr std::chrono::seconds kKeepMax{300};
  // How long it is known that a name does not exist or that no server answers.
  static constexpr std::chrono::seconds kKeepNegativeMax{30};
  static constexpr std::chrono::seconds kKeepFailure{1};
  // A resolv.conf that was changed is in force this much later at the latest.
  static constexpr std::chrono::seconds kConfReadAgain{5};
  // One look-up in all, whatever resolv.conf says.
  static constexpr std::chrono::seconds kLookupMax{10};

  // `netns_fd`: where queries leave from; -1: the process's own. Stays open as long as this lives.
  Resolver(runtime::Loop& loop, std::string resolv_conf, int netns_fd = -1, uint16_t port = 53);
  ~Resolver();  // nobody may wait in it: stop() has completed, or nothing was ever asked

  // The name's addresses, of the first family first, in the order in which the server gave them;
  // never none. kNotFound: the name, or an address of these families, does not exist. kTimeout
  // after `limit`. kUnavailable: no server answers for it.
  runtime::Task<Result<std::vector<IpAddress>>> resolve(std::string name, Families families,
                                                        std::chrono::milliseconds limit);
  // The servers that it asks, as resolv.conf names them now; never none.
  const ResolvConf& conf();
  // Ends what is asked; whoever waits gets kCancelled.
  runtime::Task<void> stop();

 private:
  struct Entry;
  using Key = std::pair<std::string, uint16_t>;  // name in lower case, type
  std::shared_ptr<Entry> entry_for(const Key& key);
  runtime::Task<Result<std::vector<IpAddress>>> addresses(Key key, std::chrono::milliseconds limit);
  runtime::Task<void> look_up(Key key, std::shared_ptr<Entry> entry);
  runtime::Task<Result<std::string>> ask_servers(std::string query);
  void make_room();

  runtime::Loop& loop_;
  std::string path_;
  int netns_fd_;
  uint16_t port_;
  ResolvConf conf_;
  std::chrono::steady_clock::time_point conf_read_at_{};
  std::map<Key, std::shared_ptr<Entry>> entries_;
  std::set<Exchange*> exchanges_;
  runtime::TaskScope lookups_;
  bool stopped_ = false;
};

}  // namespace weft::dns
