// For code that runs between clone and exec, in memory that is lent by the caller: a sanitizer's instrumented code, and the
// functions of libc that it puts its own in front of, would keep their books there as if this were the caller's thread.
#pragma once

/// Defined in a build with the thread sanitizer.
#if defined(__SANITIZE_THREAD__)
#define BROOD_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BROOD_TSAN 1
#endif
#endif

#if defined(__clang__)
#define BROOD_NOT_INSTRUMENTED __attribute__((no_sanitize("address", "thread", "undefined")))
#else
#define BROOD_NOT_INSTRUMENTED __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif
