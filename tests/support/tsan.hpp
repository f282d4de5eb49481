// SUPPORT_TSAN: 1 in a build with the thread sanitizer.
#pragma once

#if defined(__SANITIZE_THREAD__)
#define SUPPORT_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SUPPORT_TSAN 1
#endif
#endif
#ifndef SUPPORT_TSAN
#define SUPPORT_TSAN 0
#endif
