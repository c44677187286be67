#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace weft {

// What kind of thing went wrong: what a caller may act on. The message is for people.
enum class Code {
  kInvalid,      // the input is wrong: it will not get better by trying again
  kNotFound,     // what was named does not exist
  kRefused,      // a peer or a policy said no
  kUnavailable,  // not now: trying again may help
  kTimeout,      // a deadline passed
  kClosed,       // the peer ended the connection in good order while more was expected
  kReset,        // the connection broke
  kCancelled,    // we gave up ourselves: abort(), shutdown
  kLimit,        // one of our bounds was reached
  kUnsupported,  // the kernel or a peer lacks what is needed
  kInternal,     // an invariant of a library or of the system call interface did not hold
};

std::string_view to_string(Code code);

// One error type for the whole house. `cause` is what was wrong one level below; to_string() prints
// the chain "message: cause: cause".
struct [[nodiscard]] Error {
  Code code = Code::kInternal;
  std::string message;
  std::shared_ptr<const Error> cause;

  Error(Code error_code, std::string what) : code(error_code), message(std::move(what)) {}
  Error(Code error_code, std::string what, Error because)
      : code(error_code),
        message(std::move(what)),
        cause(std::make_shared<const Error>(std::move(because))) {}

  // Keeps the code, puts a sentence in front: error.in("reading /etc/hosts").
  Error in(std::string what) && {
    const Code kept = code;
    return Error(kept, std::move(what), std::move(*this));
  }

  std::string to_string() const;
};

template <class T>
using Result = std::expected<T, Error>;

using Fail = std::unexpected<Error>;

inline Fail fail(Code code, std::string message) { return Fail(Error(code, std::move(message))); }

// An Error from errno: the code that fits and "what: strerror".
Error errno_error(int error_number, std::string_view what);
inline Fail fail_errno(int error_number, std::string_view what) {
  return Fail(errno_error(error_number, what));
}

}  // namespace weft

// auto value = TRY(may_fail()); returns the error to the caller. CO_TRY is the same in a coroutine.
#define TRY(expression)                                                           \
  __extension__({                                                                 \
    auto&& try_result = (expression);                                             \
    if (!try_result) [[unlikely]] {                                               \
      return ::std::unexpected(::std::move(try_result).error());                  \
    }                                                                             \
    ::weft::detail::take_value(::std::forward<decltype(try_result)>(try_result)); \
  })
#define CO_TRY(expression)                                                        \
  __extension__({                                                                 \
    auto&& try_result = (expression);                                             \
    if (!try_result) [[unlikely]] {                                               \
      co_return ::std::unexpected(::std::move(try_result).error());               \
    }                                                                             \
    ::weft::detail::take_value(::std::forward<decltype(try_result)>(try_result)); \
  })

namespace weft::detail {
template <class T>
T take_value(std::expected<T, Error>&& result) {
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}
template <class T>
T take_value(std::expected<T, Error>& result) {
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}
}  // namespace weft::detail
