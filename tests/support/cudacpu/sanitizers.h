#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

// What the emulator tells the sanitizers; nothing in a build without them.
// Its own sources are compiled without ThreadSanitizer, which must see the
// kernels' accesses and orderings alone, but linked with it.
namespace cudacpu {

namespace asan {
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kOn = true;
inline void start_switch(void** fake_stack, const void* bottom,
                         std::size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, bottom, size);
}
inline void finish_switch(void* fake_stack, const void** bottom,
                          std::size_t* size) {
  __sanitizer_finish_switch_fiber(fake_stack, bottom, size);
}
inline void forbid(const void* memory, std::size_t bytes) {
  __asan_poison_memory_region(memory, bytes);
}
inline void allow(const void* memory, std::size_t bytes) {
  __asan_unpoison_memory_region(memory, bytes);
}
#else
inline constexpr bool kOn = false;
inline void start_switch(void**, const void*, std::size_t) {}
inline void finish_switch(void*, const void**, std::size_t*) {}
inline void forbid(const void*, std::size_t) {}
inline void allow(const void*, std::size_t) {}
#endif
}  // namespace asan

namespace tsan {
#if defined(CUDACPU_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
inline constexpr bool kOn = true;
inline void* current_fiber() { return __tsan_get_current_fiber(); }
inline void* create_fiber() { return __tsan_create_fiber(0); }
inline void destroy_fiber(void* fiber) { __tsan_destroy_fiber(fiber); }
// Orders nothing between the two.
inline void switch_to_fiber(void* fiber) {
  constexpr unsigned kNoSync = 1;
  __tsan_switch_to_fiber(fiber, kNoSync);
}
// What happened before release(x) happened before what follows acquire(x).
inline void acquire(char& address) { __tsan_acquire(&address); }
inline void release(char& address) { __tsan_release(&address); }
#else
inline constexpr bool kOn = false;
inline void* current_fiber() { return nullptr; }
inline void* create_fiber() { return nullptr; }
inline void destroy_fiber(void*) {}
inline void switch_to_fiber(void*) {}
inline void acquire(char&) {}
inline void release(char&) {}
#endif
}  // namespace tsan

}  // namespace cudacpu
