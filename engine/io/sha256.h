#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace ringlet {

// SHA-256 of bytes that come piece by piece, by OpenSSL: about 2 GB/s on a
// processor that has instructions for it.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const std::byte> bytes);
  // 64 hexadecimal digits, as sha256sum prints them. Ends the sum.
  std::string hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_of(std::span<const std::byte> bytes);

}  // namespace ringlet
