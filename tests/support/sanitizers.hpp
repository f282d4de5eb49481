// SUPPORT_SANITIZED: 1 in a build with the address or thread sanitizer. Their allocators' locks are not taken across fork (before
// LLVM 17), so a child that is forked while another thread allocates can hang in them; and valgrind cannot run them.
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
