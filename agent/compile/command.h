#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace weft::compile {

// weft compile -f DIR|FILE [-o json|yaml]: prints what data planes would be sent for the manifests,
// one resource after the other. What is not honoured goes to `err` as "warning: ..". Returns the
// exit status: with a mistake in the manifests 1, every mistake on a line of `err`, nothing on
// `out`. `args` begin behind "compile".
int compile_command(const std::vector<std::string>& args, std::ostream& out, std::ostream& err);

}  // namespace weft::compile
