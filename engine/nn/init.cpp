#include "engine/nn/init.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/runtime/philox.h"

namespace ringlet {
namespace {

// Calls fill(values) with room for the elements in row-major order, and puts
// them into the tensor.
template <typename Fill>
void fill_on_host(const Tensor& tensor, Fill fill) {
  const bool direct =
      tensor.device() == Device::kCpu && tensor.layout() == Layout::kPlain;
  const Tensor host = direct ? tensor : Tensor(tensor.shape());
  fill(host.data());
  if (!direct) tensor.copy_from(host);
}

// Element 4 b + k becomes value(block number b of four numbers, k).
template <typename Value>
void draw(const Tensor& tensor, std::uint64_t seed, std::uint32_t stream,
          Value value) {
  const std::size_t count = tensor.count();
  fill_on_host(tensor, [&](float* values) {
#pragma omp parallel for
    for (std::size_t i = 0; i < count; i += 4) {
      const PhiloxBlock block = philox(
          seed, {static_cast<std::uint32_t>(i / 4),
                 static_cast<std::uint32_t>(RandomPurpose::kInitialization),
                 stream, 0});
      for (std::size_t k = 0; k < std::min<std::size_t>(4, count - i); ++k) {
        values[i + k] = static_cast<float>(value(block, k));
      }
    }
  });
}

// In (0, 1]: a logarithm can be taken of it.
double unit_interval(std::uint32_t bits) { return (bits + 1.0) * 0x1p-32; }

}  // namespace

void fill_normal(const Tensor& tensor, float std, std::uint64_t seed,
                 std::uint32_t stream) {
  draw(tensor, seed, stream, [=](const PhiloxBlock& block, std::size_t k) {
    // Box and Muller: a pair of uniforms makes a pair of normals.
    const std::size_t pair = k / 2 * 2;
    const double radius = std::sqrt(-2 * std::log(unit_interval(block[pair])));
    const double angle = 2 * std::numbers::pi * unit_interval(block[pair + 1]);
    return radius * (k % 2 ? std::sin(angle) : std::cos(angle)) * std;
  });
}

void fill_uniform(const Tensor& tensor, float low, float high,
                  std::uint64_t seed, std::uint32_t stream) {
  draw(tensor, seed, stream, [=](const PhiloxBlock& block, std::size_t k) {
    return low + (high - low) * (block[k] * 0x1p-32);
  });
}

void fill_constant(const Tensor& tensor, float value) {
  fill_on_host(tensor, [&](float* values) {
    std::fill_n(values, tensor.count(), value);
  });
}

}  // namespace ringlet
