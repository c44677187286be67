#include "agent/cni/ask_agent.h"

#include "agent/cni/message.h"
#include "ztunnel/base/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weft::cni {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kAskAgainMilliseconds = 50;  // a pod's start waits for it

Result<Fd> connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return fail(Code::kInvalid, "socket: longer than a unix socket's path may be");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return fail_errno(errno, "making a unix socket");
  // Where the agent's backlog is full: EAGAIN, and the caller asks again.
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return fail_errno(errno, path);
  }
  return socket;
}

Result<void> send_question(int socket, const std::string& text, const Fd& netns) {
  iovec piece{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (netns) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = netns.get();
    std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  }
  if (sendmsg(socket, &message, MSG_NOSIGNAL) >= 0) return {};
  return fail_errno(errno, "asking the agent");
}

Result<std::string> read_answer(int socket, Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now()).count();
  pollfd ready{.fd = socket, .events = POLLIN, .revents = 0};
  const int polled = poll(&ready, 1, static_cast<int>(std::max<int64_t>(left, 0)));
  if (polled < 0) return fail_errno(errno, "waiting for the agent");
  if (polled == 0) return fail(Code::kTimeout, "no answer in time");
  std::string answer(kMessageBytesMax, '\0');
  const ssize_t length = recv(socket, answer.data(), answer.size(), 0);
  if (length < 0) return fail_errno(errno, "reading the agent's answer");
  if (length == 0) return fail(Code::kClosed, "the agent ended before it answered");
  answer.resize(static_cast<size_t>(length));
  return answer;
}

Result<std::string> ask_once(const Question& question, const Fd& netns,
                             Clock::time_point deadline) {
  const Fd socket = TRY(connect_to(question.socket));
  TRY(send_question(socket.get(), question.text, netns));
  return read_answer(socket.get(), deadline);
}

}  // namespace

Result<std::string> ask_agent(const Question& question) {
  const Clock::time_point deadline = Clock::now() + question.patience;
  Fd netns;
  if (!question.netns.empty()) {
    netns.reset(open(question.netns.c_str(), O_RDONLY | O_CLOEXEC));
    // Of a pod that ends it may have gone; one that starts has it.
    if (!netns && question.insists) return fail_errno(errno, "CNI_NETNS " + question.netns);
  }
  while (true) {
    Result<std::string> answer = ask_once(question, netns, deadline);
    const bool late = Clock::now() + milliseconds(kAskAgainMilliseconds) >= deadline;
    if (answer || !question.insists || late) return answer;
    poll(nullptr, 0, kAskAgainMilliseconds);
  }
}

}  // namespace weft::cni
