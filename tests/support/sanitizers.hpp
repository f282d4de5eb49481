// SUPPORT_SANITIZED: 1 in a build with the address or thread sanitizer.
#pragma once

#include "support/tsan.hpp"

#if SUPPORT_TSAN || defined(__SANITIZE_ADDRESS__)
#define SUPPORT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SUPPORT_SANITIZED 1
#endif
#endif
#ifndef SUPPORT_SANITIZED
#define SUPPORT_SANITIZED 0
#endif
