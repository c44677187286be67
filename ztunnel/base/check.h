#pragma once

#include <cstdio>
#include <cstdlib>

// CHECK(condition): an invariant of ours. Where it does not hold the process ends with the place
// and the condition, because going on would do something that nobody reasoned about. Never for
// input.
#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)

#ifdef WEFT_DCHECK
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition) \
  do {                    \
  } while (false)
#endif
