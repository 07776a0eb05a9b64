#pragma once

namespace ringlet {

// Where memory lies and kernels run. kCpu is there on every machine.
enum class Device { kCpu };

constexpr const char* name_of(Device device) {
  switch (device) {
    case Device::kCpu:
      break;
  }
  return "cpu";
}

}  // namespace ringlet
