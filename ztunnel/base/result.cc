#include "ztunnel/base/result.h"

#include <cerrno>
#include <cstring>

namespace weft {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::kInvalid:
      return "invalid";
    case Code::kNotFound:
      return "not found";
    case Code::kRefused:
      return "refused";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kTimeout:
      return "timeout";
    case Code::kClosed:
      return "closed";
    case Code::kReset:
      return "reset";
    case Code::kCancelled:
      return "cancelled";
    case Code::kLimit:
      return "limit";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kInternal:
      return "internal";
  }
  return "internal";
}

std::string Error::to_string() const {
  std::string text = message;
  for (const Error* below = cause.get(); below != nullptr; below = below->cause.get()) {
    text += ": ";
    text += below->message;
  }
  return text;
}

namespace {

Code code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
      return Code::kNotFound;
    case ECONNREFUSED:
    case EPERM:
    case EACCES:
      return Code::kRefused;
    case EAGAIN:
    case EBUSY:
    case EADDRINUSE:
    case EADDRNOTAVAIL:
    case EHOSTDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kTimeout;
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case ECONNABORTED:
    case ENETRESET:
      return Code::kReset;
    case ECANCELED:
      return Code::kCancelled;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
    case ENOSPC:
      return Code::kLimit;
    case ENOSYS:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
      return Code::kUnsupported;
    case EINVAL:
    case ENAMETOOLONG:
      return Code::kInvalid;
    default:
      return Code::kInternal;
  }
}

}  // namespace

Error errno_error(int error_number, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += std::strerror(error_number);  // NOLINT(concurrency-mt-unsafe): glibc's is per thread
  return Error(code_of(error_number), std::move(message));
}

}  // namespace weft
