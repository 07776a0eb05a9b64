#include "kernels/norm.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/backend.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/philox.h"
#include "support/catch.h"

using namespace ringlet;

namespace {

Buffer random_floats(std::size_t count, std::uint32_t seed) {
  const Buffer buffer = Buffer::allocate(count * sizeof(float));
  PhiloxStream random(seed, RandomPurpose::kSyntheticData, 0, 0);
  auto* values = reinterpret_cast<float*>(buffer.data());
  std::generate_n(values, count, [&] { return random.uniform() - 0.5f; });
  return buffer;
}

float* floats(const Buffer& buffer) {
  return reinterpret_cast<float*>(buffer.data());
}

}  // namespace

// Large results are stored past the caches; those of single pictures are not.
TEST_CASE("Batch norm of a large batch has the bits of its pictures'") {
  const Layout layout = backend().activation_layout;
  const Activation all{9, 64, 128, 128, layout};
  const Activation one{1, 64, 128, 128, layout};
  const std::size_t count = all.storage_count();
  const std::size_t part = one.storage_count();
  const Buffer x = random_floats(count, 1), residual = random_floats(count, 2);
  const Buffer dy = random_floats(count, 3);
  const Buffer channels = random_floats(6 * all.c, 4);
  const auto channel = [&](std::size_t i) {
    return floats(channels) + i * all.c;
  };
  // Outputs of the batch, and of one picture after another.
  std::vector<Buffer> whole, pieces;
  for (int i = 0; i < 3; ++i) {
    whole.push_back(random_floats(count, 5));
    pieces.push_back(random_floats(count, 6));
  }
  std::vector<std::uint8_t> mask(backend().norm.mask_bytes(all, true));

  const auto run = [&](const Activation& shape, std::size_t from,
                       const std::vector<Buffer>& out) {
    NormKernels& norm = backend().norm;
    norm.apply({.shape = shape,
                .x = floats(x) + from,
                .gamma = channel(0),
                .beta = channel(1),
                .mean = channel(2),
                .inv_std = channel(3),
                .residual = floats(residual) + from,
                .relu = true,
                .y = floats(out[0]) + from,
                .mask = mask.data() + from / 8});
    norm.backward({.shape = shape,
                   .x = floats(x) + from,
                   .gamma = channel(0),
                   .beta = channel(1),
                   .constant_statistics = true,
                   .mean = channel(2),
                   .inv_std = channel(3),
                   .relu = true,
                   .mask = mask.data() + from / 8,
                   .dy = floats(dy) + from,
                   .dx = floats(out[1]) + from,
                   .dresidual = floats(out[2]) + from,
                   .dgamma = channel(4),
                   .dbeta = channel(5)});
  };
  run(all, 0, whole);
  for (std::size_t from = 0; from < count; from += part) run(one, from, pieces);
  for (int i = 0; i < 3; ++i) {
    INFO("output " << i);
    CHECK(std::memcmp(floats(whole[i]), floats(pieces[i]),
                      count * sizeof(float)) == 0);
  }
}
