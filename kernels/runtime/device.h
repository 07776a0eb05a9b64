#pragma once

namespace ringlet {

// Where memory lies and kernels run. kCpu is there on every machine.
enum class Device { kCpu };

}  // namespace ringlet
