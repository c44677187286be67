#pragma once

#include "ztunnel/http/message.h"
#include "ztunnel/runtime/pooled.h"
#include "ztunnel/runtime/stream.h"

#include <functional>
#include <memory>
#include <optional>

// One request and its response, as a proxy sees them. HTTP/1.1 and HTTP/2 are two makers of the
// same two types, so nothing behind this line knows which one it has.

namespace weft::http {

// What reads a body: of a request where we serve, of a response where we ask.
class BodyReader : public runtime::Pooled {
 public:
  virtual ~BodyReader() = default;
  // Whether bytes or the end may still come; false: all is here, and read() says the end at once.
  virtual bool has_more() const = 0;
  // The next bytes, without framing; an empty Buffer: the end. An error is for good.
  virtual runtime::Task<Result<runtime::Buffer>> read() = 0;
  // What lies ready, without waiting; as ByteStream::take_ready().
  virtual std::optional<runtime::Buffer> take_ready() { return std::nullopt; }
  // Once has_more() is false.
  virtual FieldList take_trailers() = 0;
};

// What writes one. A body's length is what its head's content-length says, or unknown. Heads and
// bytes may be held back so that they leave together: until finish(), until `end`, or until
// flush(), which whoever is about to wait for more bytes calls.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  virtual runtime::Task<Result<void>> write(runtime::Buffer bytes) = 0;
  virtual runtime::Task<Result<void>> flush() = 0;
  virtual runtime::Task<Result<void>> finish(FieldList trailers) = 0;
};

// A client's request, at our server. Whoever lets go of one that is not finished resets it. It must
// not outlive its connection.
class ServerExchange : public BodyReader, public BodyWriter {
 public:
  virtual RequestHead& request() = 0;
  // 1xx, any number of times before respond(). A 100 is also sent by the first read() of a request
  // that expects one.
  virtual runtime::Task<Result<void>> inform(ResponseHead head) = 0;
  // The final head; `end`: nothing follows. What of it is framing (content-length is the caller's
  // to say, transfer-encoding and connection are not) the maker adds.
  virtual runtime::Task<Result<void>> respond(ResponseHead head, bool end) = 0;
  // Whether respond() has begun: another answer is not possible any more.
  virtual bool has_responded() const = 0;
  // Answers an Upgrade (101, or 200 where it is HTTP/2's CONNECT); from here on bytes.
  virtual runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> upgrade(
      ResponseHead head) = 0;
  // `call` runs once, on a turn of its own, should the client go before the response is whole;
  // never after the exchange is let go of. For who waits for something else meanwhile.
  virtual void when_gone(std::move_only_function<void()> call) = 0;
  // A read() that waits fails with kCancelled, as later ones do: the rest of the request is not
  // wanted. Its response may go on.
  virtual void stop_reading() = 0;
  // Resets it: the client sees that the response is not whole.
  virtual void abort() = 0;
};

// Our request, at somebody else's server.
class ClientExchange : public BodyReader, public BodyWriter {
 public:
  // Sends the head; `end`: nothing follows. kUnavailable: nothing of it was sent, nor will be.
  virtual runtime::Task<Result<void>> send(const RequestHead& head, bool end) = 0;
  // The next head: 1xx any number of times, then the final one. It may come before the request is
  // whole. kReset: none came; kUnavailable: the server says it did nothing with the request;
  // kInvalid: it is not HTTP.
  virtual runtime::Task<Result<ResponseHead>> response() = 0;
  // After 101, which is also what HTTP/2's 200 to an extended CONNECT is told as.
  virtual runtime::Task<Result<std::unique_ptr<runtime::ByteStream>>> take_stream() = 0;
  virtual void abort() = 0;
};

}  // namespace weft::http
