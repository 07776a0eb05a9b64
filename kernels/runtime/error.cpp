#include "kernels/runtime/error.h"

namespace ringlet {

void fail_check(const char* file, int line, const std::string& message) {
  std::string_view path = file;
  const std::size_t slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  throw Error(message + " [" + std::string(path) + ":" + std::to_string(line) +
              "]");
}

}  // namespace ringlet
