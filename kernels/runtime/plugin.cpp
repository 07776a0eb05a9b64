#include "kernels/runtime/plugin.h"

#include <dlfcn.h>

namespace ringlet {

Plugin load_plugin(const char* file, const char* function) {
  void* handle = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (handle == nullptr) return {nullptr, dlerror()};
  void* symbol = dlsym(handle, function);
  if (symbol == nullptr) return {nullptr, dlerror()};
  return {reinterpret_cast<void* (*)()>(symbol)(), ""};
}

}  // namespace ringlet
