// Usage: everything LIBRARY FUNCTION: whether the library is found and loaded.
#include <cstdio>

#include "kernels/runtime/plugin.h"

int main(int, char** argv) {
  const ringlet::Plugin plugin = ringlet::load_plugin(argv[1], argv[2]);
  std::puts(plugin.table != nullptr ? "loaded" : plugin.why_not.c_str());
}
