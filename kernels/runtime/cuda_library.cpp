#include "kernels/runtime/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include "kernels/runtime/error.h"

// A program that brings its own kernels, the tests' emulated ones, has this
// function and loads nothing.
extern "C" __attribute__((weak)) ringlet::cuda::Library* ringlet_cuda_library();

namespace ringlet::cuda {
namespace {

struct Loaded {
  Library* library = nullptr;
  std::string why_not;
};

Loaded load() {
  if (ringlet_cuda_library != nullptr) return {ringlet_cuda_library(), ""};
  const std::string file = RINGLET_CUDA_LIBRARY;
  if (file.empty()) return {nullptr, "Ringlet was built without CUDA"};
  // What the driver makes; asked first, since loading takes its time.
  const auto exists = [](const char* device) {
    return access(device, F_OK) == 0;
  };
  if (!exists("/dev/nvidiactl") && !exists("/dev/nvidia0") &&
      !exists("/dev/nvgpu") && !exists("/dev/dxg")) {
    return {nullptr, "no NVIDIA driver is loaded (no /dev/nvidiactl)"};
  }
  // Stays loaded: at the end of the program threads may still use it.
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return {nullptr, dlerror()};
  void* function = dlsym(handle, "ringlet_cuda_library");
  if (function == nullptr) return {nullptr, dlerror()};
  return {reinterpret_cast<Library* (*)()>(function)(), ""};
}

const Loaded& loaded() {
  static const Loaded result = load();
  return result;
}

}  // namespace

Library& library() {
  const Loaded& result = loaded();
  if (result.library != nullptr) return *result.library;
  throw Error("no GPU can be used: " + result.why_not);
}

std::string why_none() {
  const Loaded& result = loaded();
  return result.library != nullptr ? result.library->why_none()
                                   : result.why_not;
}

}  // namespace ringlet::cuda
