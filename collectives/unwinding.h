#pragma once

#include <exception>

namespace ringlet {

// A member that tells a destructor whether it runs because an exception passes
// by. Other ranks then cannot be expected to join in an orderly end.
class Unwinding {
 public:
  explicit operator bool() const {
    return std::uncaught_exceptions() > before_;
  }

 private:
  int before_ = std::uncaught_exceptions();
};

}  // namespace ringlet
