// SUPPORT_FORKS_WITH_THREADS: 0 in a build with the address or thread sanitizer: their allocators' locks are not taken
// across fork (before LLVM 17), so a child forked while another thread allocates can hang in them.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SUPPORT_FORKS_WITH_THREADS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SUPPORT_FORKS_WITH_THREADS 0
#endif
#endif
#ifndef SUPPORT_FORKS_WITH_THREADS
#define SUPPORT_FORKS_WITH_THREADS 1
#endif
