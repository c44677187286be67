#include "agent/enrol/pod_sandbox.h"

#include "agent/cni/message.h"
#include "agent/objects/tree.h"

namespace weft::enrol {
namespace {

using objects::Tree;

// Pods have one address of a family; what a plugin may list besides is not worth reading further.
constexpr size_t kAddressesMax = 64;

Result<PodSandbox::Command> command_of(std::string_view name) {
  if (name == "ADD") return PodSandbox::Command::kAdd;
  if (name == "DEL") return PodSandbox::Command::kDelete;
  if (name == "CHECK") return PodSandbox::Command::kCheck;
  return fail(Code::kInvalid, "command: expected ADD, DEL or CHECK");
}

// Whether an entry of "ips" is of the pod's own interface: its "interface" is an index into
// "interfaces", where the other end of a veth, on the node, stands too.
bool is_of(const Tree& ip, const Tree& result, std::string_view interface) {
  const Tree* index = ip.find("interface");
  const Tree* all = result.find("interfaces");
  if (index == nullptr || all == nullptr || index->kind != Tree::Kind::kInteger) return true;
  if (index->integer < 0 || static_cast<size_t>(index->integer) >= all->items.size()) return true;
  const Tree& found = all->items[static_cast<size_t>(index->integer)];
  return found.text_of("name") == interface && !found.text_of("sandbox").empty();
}

// The first of each family, as the kubelet takes them.
Result<PodAddresses> addresses_in(const Tree& result, std::string_view interface) {
  PodAddresses addresses;
  const Tree* ips = result.find("ips");
  if (ips == nullptr) return addresses;
  if (ips->items.size() > kAddressesMax) return fail(Code::kLimit, "prevResult.ips: too many");
  for (const Tree& ip : ips->items) {
    if (!is_of(ip, result, interface)) continue;
    const std::string text(ip.text_of("address"));
    const Result<IpAddress> address = IpAddress::parse(text.substr(0, text.find('/')));
    if (!address) {
      return fail(Code::kInvalid, "prevResult.ips: \"" + text + "\": expected ADDRESS/LENGTH");
    }
    const bool taken = address->is_v4() ? addresses.has_v4() : addresses.has_v6();
    if (!taken) addresses.set(*address);
  }
  return addresses;
}

}  // namespace

Result<PodSandbox> parse_cni_question(std::string_view text) {
  const Tree question = TRY(objects::parse_json(text));
  const Tree* version = question.find("version");
  if (version == nullptr || version->kind != Tree::Kind::kInteger ||
      version->integer != cni::kMessageVersion) {
    return fail(Code::kUnsupported,
                "version: expected " + std::to_string(cni::kMessageVersion) +
                    "; is the weft-cni on this node from another version of Weft?");
  }
  PodSandbox sandbox;
  sandbox.command = TRY(command_of(question.text_of("command")));
  sandbox.container = question.text_of("container");
  sandbox.ns = question.text_of("namespace");
  sandbox.name = question.text_of("name");
  sandbox.uid = question.text_of("uid");
  if (sandbox.ns.empty() || sandbox.name.empty()) {
    return fail(Code::kInvalid, "namespace, name: expected those of a pod");
  }
  if (const Tree* result = question.find("prevResult")) {
    sandbox.addresses = TRY(addresses_in(*result, question.text_of("interface")));
  }
  return sandbox;
}

std::string cni_answer(const Result<bool>& captured) {
  Tree answer = Tree::map();
  if (captured) {
    answer.add("state", Tree::of(std::string(*captured ? cni::kCaptured : cni::kNotInMesh)));
  } else {
    answer.add("error", Tree::of(captured.error().to_string()));
    answer.add("remedy", Tree::of(std::string("the kubelet tries again by itself; the log of this "
                                              "node's weft-agent pod says more")));
  }
  return objects::write_json(answer);
}

}  // namespace weft::enrol
