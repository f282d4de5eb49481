// For code that runs between clone and exec, in memory that is lent by the caller: a sanitizer's instrumented code, and the
// functions of libc that it puts its own in front of, would keep their books there as if this were the caller's thread.
#pragma once

#if defined(__clang__)
#define BROOD_NOT_INSTRUMENTED __attribute__((no_sanitize("address", "thread", "undefined")))
#else
#define BROOD_NOT_INSTRUMENTED __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif
