#include "support/cudacpu/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "support/cudacpu/sanitizers.h"

#if !defined(__x86_64__)
#error "cudacpu: the switch between fibers is written for x86-64 only"
#endif

// Saves what a function call must preserve on the stack that is left, and its
// address in *save; goes on from the stack at `load`.
extern "C" void cudacpu_switch(void** save, void* load);
asm(R"(
.pushsection .text
.type cudacpu_switch, @function
cudacpu_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
.size cudacpu_switch, . - cudacpu_switch
.popsection
)");

namespace cudacpu {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kGuardBytes = 4096;
constexpr std::size_t kSavedRegisters = 6;

// The fiber that the last switch came from.
thread_local Fiber* t_left = nullptr;

}  // namespace

Fiber::Fiber() : identity_(tsan::current_fiber()) {}

Fiber::Fiber(void (*main)())
    : size_(kStackBytes), identity_(tsan::create_fiber()) {
  void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, kGuardBytes, PROT_NONE);
  stack_ = static_cast<std::byte*>(memory);
  bottom_ = memory;
  // As if cudacpu_switch had been called from the first instruction of main:
  // its return address, at an address that is a multiple of 16 plus 8 once it
  // has been taken off, and zeros for the registers.
  auto* top = reinterpret_cast<std::uintptr_t*>(stack_ + kStackBytes) - 2;
  *top = reinterpret_cast<std::uintptr_t>(main);
  for (std::size_t i = 1; i <= kSavedRegisters; ++i) top[-i] = 0;
  stack_pointer_ = top - kSavedRegisters;
}

Fiber::~Fiber() {
  if (stack_ == nullptr) return;
  tsan::destroy_fiber(identity_);
  munmap(stack_, kStackBytes);
}

void Fiber::switch_to(Fiber& other) {
  t_left = this;
  asan::start_switch(&fake_stack_, other.bottom_, other.size_);
  tsan::switch_to_fiber(other.identity_);
  cudacpu_switch(&stack_pointer_, other.stack_pointer_);
  asan::finish_switch(fake_stack_, &t_left->bottom_, &t_left->size_);
}

void Fiber::entered() {
  asan::finish_switch(nullptr, &t_left->bottom_, &t_left->size_);
}

}  // namespace cudacpu
