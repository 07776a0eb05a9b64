#pragma once

#include <string>

namespace ringlet {

// A library that is loaded when somebody asks for it, and stays: at the end of
// the program threads may still use it.
struct Plugin {
  void* table =
      nullptr;  // what its function returned; null where there is none
  std::string why_not = {};
};

// Calls `function`, which takes nothing, in `file`: looked for where the
// program looks for its libraries.
Plugin load_plugin(const char* file, const char* function);

}  // namespace ringlet
