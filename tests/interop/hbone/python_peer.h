#pragma once

#include "tests/support/test_authority.h"
#include "ztunnel/base/fd.h"
#include "ztunnel/runtime/loop.h"

#include <sys/types.h>

#include <string>
#include <vector>

namespace weft::testing {

// Why peer.py cannot run here ("python3-h2 is not installed"); empty: it can.
std::string why_no_python_peer();

// A private folder that goes with its owner.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string write(const std::string& name, const std::string& text) const;  // its path

 private:
  std::string path_;
};

// peer.py at work with a certificate of `identity`; it is ended with this.
class PythonPeer {
 public:
  PythonPeer(const TestAuthority& authority, const std::string& identity, const std::string& mode,
             const std::vector<std::string>& arguments = {});
  ~PythonPeer();
  // What it writes to standard output, once that has `text`, or at its end.
  runtime::Task<std::string> output_with(runtime::Loop& loop, std::string text);
  runtime::Task<std::string> whole_output(runtime::Loop& loop);

 private:
  TemporaryFolder folder_;
  pid_t process_ = 0;
  Fd output_;
  std::string seen_;
};

}  // namespace weft::testing
