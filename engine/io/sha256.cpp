#include "engine/io/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

#include "kernels/runtime/check.h"

namespace ringlet {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  RINGLET_CHECK(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1,
                "OpenSSL has no SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  RINGLET_CHECK(
      EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1,
      "OpenSSL's SHA-256 of {} bytes failed", bytes.size());
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  RINGLET_CHECK(
      EVP_DigestFinal_ex(state_->context, digest.data(), &length) == 1,
      "OpenSSL's SHA-256 failed at its end");
  std::string text;
  for (unsigned i = 0; i < length; ++i) {
    text += fmt::format("{:02x}", digest[i]);
  }
  return text;
}

std::string sha256_of(std::span<const std::byte> bytes) {
  Sha256 sum;
  sum.update(bytes);
  return sum.hex();
}

}  // namespace ringlet
