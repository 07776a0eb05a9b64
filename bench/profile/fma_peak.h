#pragma once

namespace ringlet {

// Fused multiply-adds from registers to registers on all of the kernels'
// threads for `seconds`: what the processor gives at this moment, in 10^9
// floating-point operations per second, two for each multiply-add.
double fma_peak_gflops(double seconds);

}  // namespace ringlet
