#pragma once

#include "ztunnel/base/fd.h"
#include "ztunnel/dns/framing.h"
#include "ztunnel/dns/message.h"
#include "ztunnel/runtime/socket.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::dns {

// A DNS server on loopback, UDP and TCP on one port, on the test's own loop. `respond` gets each
// query and says which messages to send for it.
class FakeServer {
 public:
  using Respond = std::function<std::vector<std::string>(const std::string& query, bool tcp)>;

  FakeServer(runtime::Loop& loop, Respond respond) : loop_(loop), respond_(std::move(respond)) {
    auto listener = runtime::listen_in(-1, {IpAddress::v4(INADDR_LOOPBACK), 0}, 16);
    EXPECT_TRUE(listener);
    tcp_ = std::move(*listener);
    address_ = *runtime::local_address(tcp_.get());
    udp_ = std::move(*runtime::socket_in(-1, AF_INET, SOCK_DGRAM, 0));
    sockaddr_storage raw{};
    const socklen_t length = address_.to_sockaddr(raw);
    EXPECT_EQ(bind(udp_.get(), reinterpret_cast<sockaddr*>(&raw), length), 0);
    acceptor_ = std::make_unique<runtime::Acceptor>(
        loop, tcp_.get(), [this](Fd connection) { return serve(std::move(connection)); });
    tasks_.spawn(serve_datagrams());
    tasks_.spawn(acceptor_->run());
  }

  SocketAddress address() const { return address_; }
  int asked_over_udp = 0;
  int asked_over_tcp = 0;

  runtime::Task<void> stop() {
    acceptor_->stop();
    loop_.cancel(udp_.get());
    co_await tasks_.join();
  }

 private:
  runtime::Task<void> serve_datagrams() {
    while (co_await loop_.poll(udp_.get(), POLLIN) >= 0) {
      char bytes[4096];
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      const ssize_t got = recvfrom(udp_.get(), bytes, sizeof bytes, MSG_DONTWAIT,
                                   reinterpret_cast<sockaddr*>(&from), &length);
      if (got < 0) continue;
      ++asked_over_udp;
      for (const std::string& answer :
           respond_(std::string(bytes, static_cast<size_t>(got)), false)) {
        EXPECT_GE(sendto(udp_.get(), answer.data(), answer.size(), 0,
                         reinterpret_cast<sockaddr*>(&from), length),
                  0);
      }
    }
  }
  runtime::Task<void> serve(Fd connection) {
    runtime::SocketStream stream(loop_, std::move(connection));
    Deframer deframer;
    while (true) {
      const auto bytes = co_await stream.read();
      if (!bytes || bytes->empty()) co_return;
      deframer.push(bytes->text());
      while (const auto query = deframer.next()) {
        ++asked_over_tcp;
        for (const std::string& answer : respond_(*query, true)) {
          [[maybe_unused]] const auto sent =
              co_await stream.write(loop_.buffers().copy_of(framed(answer)));
        }
      }
    }
  }

  runtime::Loop& loop_;
  Respond respond_;
  Fd tcp_;
  Fd udp_;
  SocketAddress address_;
  std::unique_ptr<runtime::Acceptor> acceptor_;
  runtime::TaskScope tasks_;
};

inline std::string query_for(std::string_view name, uint16_t type, uint16_t id = 7) {
  Message query;
  query.header.id = id;
  query.header.recursion_desired = true;
  query.question = Question{*Name::parse(name), type, kClassIn};
  return encode(query, kUdpBytesMin);
}

// An answer to `query` with these addresses of the question's own name.
inline Message answer_with(const std::string& query, const std::vector<std::string>& addresses,
                           uint32_t ttl_s = 60) {
  const auto read = read_query(query);
  Message answer = answer_to(*read, Rcode::kNoError);
  for (const std::string& address : addresses) {
    answer.answers.push_back({answer.question->name, ttl_s, *IpAddress::parse(address)});
  }
  return answer;
}

}  // namespace weft::dns
