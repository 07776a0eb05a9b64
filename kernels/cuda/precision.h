#pragma once

namespace ringlet::cuda {

// Whether products and convolutions of f32 may be computed in TF32, which keeps
// 10 bits of each factor's fraction and is several times as fast. Of the whole
// process; off at first.
bool allow_tf32();
void set_allow_tf32(bool allow);

}  // namespace ringlet::cuda
