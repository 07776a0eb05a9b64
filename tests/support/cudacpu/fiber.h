#pragma once

#include <cstddef>

namespace cudacpu {

// A call that can be left in the middle and gone on with: what a CUDA thread
// needs in order to wait. All fibers of an OS thread take turns on it; one is
// the OS thread itself. x86-64 System V only, since a switch is eight
// instructions (swapcontext would make two system calls).
//
// AddressSanitizer is told of every switch. To ThreadSanitizer each fiber is a
// thread, and a switch orders nothing between two.
class Fiber {
 public:
  // The calling OS thread.
  Fiber();
  // On a stack of its own; `main` must not return.
  explicit Fiber(void (*main)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Leaves this fiber, which must be the running one, for `other`.
  void switch_to(Fiber& other);
  // To be called first thing by `main`.
  static void entered();

 private:
  void* stack_pointer_ = nullptr;
  std::byte* stack_ = nullptr;    // null: the OS thread's
  const void* bottom_ = nullptr;  // of the stack, and its size: for
  std::size_t size_ = 0;          // AddressSanitizer
  void* fake_stack_ = nullptr;    // its own record of a fiber that waits
  void* identity_;                // ThreadSanitizer's
};

}  // namespace cudacpu
