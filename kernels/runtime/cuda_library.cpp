#include "kernels/runtime/cuda_library.h"

#include <unistd.h>

#include <atomic>

#include "kernels/runtime/error.h"
#include "kernels/runtime/plugin.h"

// A program that brings its own kernels, the tests' emulated ones, has this
// function and loads nothing.
extern "C" __attribute__((weak)) ringlet::cuda::Library* ringlet_cuda_library();

namespace ringlet::cuda {
namespace {

Plugin load() {
  if (ringlet_cuda_library != nullptr) return {ringlet_cuda_library(), ""};
  const std::string file = RINGLET_CUDA_LIBRARY;
  if (file.empty()) return {nullptr, "Ringlet was built without CUDA"};
  if (!has_driver()) {  // asked first, since loading takes its time
    return {nullptr, "no NVIDIA driver is loaded (no /dev/nvidiactl)"};
  }
  return load_plugin(file.c_str(), "ringlet_cuda_library");
}

std::atomic<Library*> in_use{nullptr};

const Plugin& plugin() {
  static const Plugin result = load();
  return result;
}

}  // namespace

bool has_driver() {
  for (const char* file :
       {"/dev/nvidiactl", "/dev/nvidia0", "/dev/nvgpu", "/dev/dxg"}) {
    if (access(file, F_OK) == 0) return true;
  }
  return false;
}

Library& library() {
  if (plugin().table == nullptr) {
    throw Error("no GPU can be used: " + plugin().why_not);
  }
  auto* table = static_cast<Library*>(plugin().table);
  in_use = table;
  return *table;
}

Library* library_in_use() { return in_use; }

std::string why_none() {
  return plugin().table != nullptr ? library().why_none() : plugin().why_not;
}

}  // namespace ringlet::cuda
