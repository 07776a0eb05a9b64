#pragma once

#include <string>

namespace ringlet {

// Processors of this host that its ranks may use together: those of whoever
// started this process.
int host_cores();

// Processors that this process may run on (its affinity mask): "0-3,8".
std::string allowed_cores();
int allowed_core_count();

// How many OpenMP threads the kernels called by this thread use.
void set_kernel_threads(int count);
int kernel_threads();

// What the program was built for, and the highest of these that this processor
// has.
enum class InstructionSet { kDefault, kAvx2, kAvx512 };
InstructionSet built_instruction_set();
InstructionSet processor_instruction_set();
const char* name_of(InstructionSet set);  // "x86-64-v3 (AVX2)"

// Throws an Error where this processor lacks instructions that the program was
// built for, instead of dying of an illegal one in the middle of a run.
void check_processor();

}  // namespace ringlet
