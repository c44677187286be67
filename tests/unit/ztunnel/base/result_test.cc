#include "ztunnel/base/result.h"

#include "ztunnel/base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <memory>

namespace weft {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return fail(Code::kInvalid, std::to_string(number) + " is odd");
  return number / 2;
}

Result<void> must_be_even(int number) {
  TRY(half(number));
  return {};
}

Result<int> quarter(int number) {
  const int first = TRY(half(number));
  TRY(must_be_even(first));
  return TRY(half(first));
}

TEST(Result, TryHandsOnValuesAndErrors) {
  EXPECT_EQ(quarter(12), 3);
  EXPECT_EQ(quarter(7).error().message, "7 is odd");
  EXPECT_EQ(quarter(6).error().message, "3 is odd");
  EXPECT_TRUE(must_be_even(4).has_value());
}

Result<std::unique_ptr<int>> make(bool works) {
  if (!works) return fail(Code::kNotFound, "nothing");
  return std::make_unique<int>(5);
}

Result<int> through(bool works) {
  const std::unique_ptr<int> moved = TRY(make(works));
  Result<std::unique_ptr<int>> named = make(works);
  const std::unique_ptr<int> from_name = TRY(named);
  return *moved + *from_name;
}

TEST(Result, TryMovesWhatCannotBeCopied) {
  EXPECT_EQ(through(true), 10);
  EXPECT_EQ(through(false).error().code, Code::kNotFound);
}

TEST(Error, TellsTheChainOfCausesAndKeepsTheCode) {
  const Error error = Error(Code::kRefused, "port 80 refused").in("dialling").in("fetching /x");
  EXPECT_EQ(error.to_string(), "fetching /x: dialling: port 80 refused");
  EXPECT_EQ(error.code, Code::kRefused);
  EXPECT_EQ(error.cause->cause->message, "port 80 refused");
  const Error wrapped(Code::kUnavailable, "no endpoint", error);
  EXPECT_EQ(wrapped.code, Code::kUnavailable);
  EXPECT_EQ(wrapped.to_string(), "no endpoint: fetching /x: dialling: port 80 refused");
}

TEST(Error, OfErrnoHasTheCodeThatFits) {
  const std::vector<std::pair<int, Code>> cases{
      {ENOENT, Code::kNotFound},
      {ECONNREFUSED, Code::kRefused},
      {EACCES, Code::kRefused},
      {EHOSTUNREACH, Code::kUnavailable},
      {EADDRNOTAVAIL, Code::kUnavailable},
      {ETIMEDOUT, Code::kTimeout},
      {ECONNRESET, Code::kReset},
      {EPIPE, Code::kReset},
      {ECANCELED, Code::kCancelled},
      {EMFILE, Code::kLimit},
      {ENOSYS, Code::kUnsupported},
      {EINVAL, Code::kInvalid},
      {EBADF, Code::kInternal},
  };
  for (const auto& [number, code] : cases) {
    EXPECT_EQ(errno_error(number, "x").code, code) << number;
  }
  EXPECT_EQ(errno_error(ENOENT, "opening a").to_string(), "opening a: No such file or directory");
}

TEST(Code, EveryOneHasItsOwnName) {
  std::vector<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Code::kInternal); ++i) {
    names.push_back(to_string(static_cast<Code>(i)));
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, ClosesWhatItOwnsOnce) {
  Fd first(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = first.get();
  ASSERT_TRUE(is_open(number));
  Fd second(std::move(first));
  EXPECT_FALSE(static_cast<bool>(first));
  EXPECT_TRUE(is_open(number));
  Fd third(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int other = third.get();
  third = std::move(second);
  EXPECT_FALSE(is_open(other));
  EXPECT_TRUE(is_open(number));
  EXPECT_EQ(third.release(), number);
  EXPECT_TRUE(is_open(number));
  Fd(number).reset();
  EXPECT_FALSE(is_open(number));
}

}  // namespace
}  // namespace weft
