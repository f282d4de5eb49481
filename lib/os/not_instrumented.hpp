// What sanitizers must leave alone.
#pragma once

/// Defined in a build with the thread sanitizer.
#if defined(__SANITIZE_THREAD__)
#define BROOD_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BROOD_TSAN 1
#endif
#endif

/// For code that runs between clone and exec, in memory that is lent by the caller: instrumented code, and the functions of libc
/// that a sanitizer puts its own in front of, would keep their books there as if this were the caller's thread.
#if defined(__clang__)
#define BROOD_NOT_INSTRUMENTED __attribute__((no_sanitize("address", "thread", "undefined")))
#else
#define BROOD_NOT_INSTRUMENTED __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif

/// For a function that catches abi::__forced_unwind: the unwinding at a thread's end brings no object, so that reference is null.
#define BROOD_CATCHES_FORCED_UNWIND __attribute__((no_sanitize("null"), noinline))
