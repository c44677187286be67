// What a container runtime gives weft-cni, and what the agent and weft-cni say to each other. The
// input is a configuration, an answer of the agent, and a question to it.
#include "agent/cni/json_text.h"
#include "agent/cni/plugin.h"
#include "agent/enrol/pod_sandbox.h"
#include "ztunnel/base/check.h"

#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace weft;
  const std::string text(reinterpret_cast<const char*>(data), size);
  std::string asked;
  const cni::AskAgent ask = [&](const cni::Question& question) -> Result<std::string> {
    asked = question.text;
    return text;
  };
  for (const char* command : {"ADD", "DEL", "VERSION"}) {
    const cni::Reply reply = cni::run_plugin({.command = command,
                                              .container = "c",
                                              .netns = "/run/netns/x",
                                              .interface = "eth0",
                                              .args = "K8S_POD_NAMESPACE=a;K8S_POD_NAME=" + text,
                                              .config = text},
                                             ask);
    CHECK(reply.exit_code == 0 || cni::json_members(reply.text));
  }
  // What weft-cni writes, the agent's reader of JSON must not take for something else.
  if (!asked.empty()) CHECK(cni::json_members(asked));
  const auto sandbox = enrol::parse_cni_question(text);
  if (sandbox) CHECK(!sandbox->name.empty());
  return 0;
}
