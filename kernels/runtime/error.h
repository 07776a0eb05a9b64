#pragma once

#include <stdexcept>
#include <string>

namespace ringlet {

// What every Ringlet library throws. The text names what was expected and what
// came; only `main` catches it, adds the rank and ends the program.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A device has no more memory; work that needs less may go on.
class OutOfMemoryError : public Error {
 public:
  using Error::Error;
};

// Throws an Error whose text ends with the place in the source: for broken
// contracts between our own functions, never for bad input from a user.
[[noreturn]] void fail_check(const char* file, int line,
                             const std::string& message);

}  // namespace ringlet
