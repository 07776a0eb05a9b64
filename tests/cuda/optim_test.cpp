#include <array>
#include <cmath>
#include <numeric>

#include "cuda/support.h"
#include "kernels/backend.h"
#include "kernels/cuda/families.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

const std::vector<std::size_t> kCounts = {1,    7,    8,    9,    255,
                                          2048, 2049, 2055, 33000};

struct Arrays {
  std::vector<double> grad, buffer, parameter;
  std::vector<std::uint8_t> decays;

  explicit Arrays(std::size_t count)
      : grad(random_values(count, 1)),
        buffer(random_values(count, 2)),
        parameter(random_values(count, 3)) {
    for (std::size_t i = 0; i < (count + 7) / 8; ++i) {
      decays.push_back(static_cast<std::uint8_t>(i * 37));
    }
  }
};

struct Case {
  std::size_t count;
  bool nesterov, all_decay;
  Dtype half;
  std::uint32_t skip = 0;
};

constexpr float kLr = 0.1f, kMomentum = 0.9f, kDecay = 0.01f, kScale = 0.25f;

// One step in double precision.
void step(const Case& c, Arrays& a) {
  for (std::size_t i = 0; i < c.count; ++i) {
    const bool decays = c.all_decay || (a.decays[i / 8] >> i % 8 & 1) != 0;
    const double g =
        a.grad[i] * static_cast<double>(kScale) +
        (decays ? static_cast<double>(kDecay) : 0) * a.parameter[i];
    a.buffer[i] = static_cast<double>(kMomentum) * a.buffer[i] + g;
    a.parameter[i] -=
        static_cast<double>(kLr) *
        (c.nesterov ? g + static_cast<double>(kMomentum) * a.buffer[i]
                    : a.buffer[i]);
  }
}

void check(const Case& c) {
  INFO("count " << c.count << " nesterov " << c.nesterov << " all_decay "
                << c.all_decay << " " << name_of(c.half) << " skip " << c.skip);
  in_all_orders([&] {
    Arrays arrays(c.count);
    const AnyArray grad(arrays.grad, Dtype::kF32);
    const AnyArray buffer(arrays.buffer, Dtype::kF32);
    const AnyArray parameter(arrays.parameter, Dtype::kF32);
    const AnyArray copy(c.count, c.half);
    const DeviceArray<std::uint8_t> decays(arrays.decays);
    const DeviceArray<SgdStep> rates(
        std::vector<SgdStep>{{kLr, kScale, c.skip}});
    const DeviceArray<FlatRange> all(std::vector<FlatRange>{{0, c.count}});
    const DeviceArray<std::uint64_t> hash(std::size_t{1});
    const auto* values = static_cast<const float*>(parameter.data());
    const std::array hashes{HashArgs{values, all.data(), 1, hash.data()}};
    cuda::make_optim()->sgd(
        {.count = c.count,
         .grad = static_cast<const float*>(grad.data()),
         .momentum_buffer = static_cast<float*>(buffer.data()),
         .parameter = static_cast<float*>(parameter.data()),
         .step = rates.data(),
         .momentum = kMomentum,
         .weight_decay = kDecay,
         .nesterov = c.nesterov,
         .decays = c.all_decay ? nullptr : decays.data(),
         .half_copy = copy.data(),
         .half_dtype = c.half,
         .hashes = hashes});
    const std::vector<std::uint64_t> along = hash.to_host();
    cuda::make_optim()->hash(hashes[0]);
    CHECK((along == hash.to_host()));
    if (c.skip == 0) step(c, arrays);
    const double bound = c.skip == 0 ? 3e-7 : 0;
    CHECK(largest_error(buffer.values(), arrays.buffer) <= bound);
    CHECK(largest_error(parameter.values(), arrays.parameter) <= bound);
    if (c.skip == 0) {
      std::vector<double> rounded = parameter.values();
      const AnyArray expected(rounded, c.half);
      CHECK((copy.raw() == expected.raw()));
    }
    return Bits{buffer.raw(), parameter.raw(), copy.raw()};
  });
}

double squared_norm(const std::vector<double>& values) {
  std::vector<double> copy = values;
  const AnyArray array(copy, Dtype::kF32);
  const DeviceArray<double> result(std::size_t{1});
  cuda::make_optim()->squared_norm(
      values.size(), static_cast<const float*>(array.data()), result.data());
  return result.to_host()[0];
}

}  // namespace

TEST_CASE("CUDA's SGD agrees with its formula, and copies to half precision") {
  for (const std::size_t count : kCounts) {
    for (const bool nesterov : {false, true}) {
      for (const bool all_decay : {false, true}) {
        check({count, nesterov, all_decay, Dtype::kBF16});
        check({count, nesterov, all_decay, Dtype::kF16});
      }
    }
  }
}

TEST_CASE("CUDA's SGD changes nothing in a step that is to be skipped") {
  check({2049, false, true, Dtype::kBF16, 1});
}

TEST_CASE("CUDA's squared norm is a sum in double precision, in one order") {
  for (const std::size_t count : kCounts) {
    INFO("count " << count);
    std::vector<double> values = random_values(count, 5, -1e3, 1e3);
    const AnyArray rounded(values, Dtype::kF32);
    const double wanted =
        std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
    in_all_orders([&] {
      const double got = squared_norm(values);
      CHECK(got == Approx(wanted).epsilon(1e-12));
      std::vector<std::byte> bits(sizeof got);
      std::memcpy(bits.data(), &got, sizeof got);
      return Bits{bits};
    });
  }
  CHECK(squared_norm({}) == 0);
}

TEST_CASE("CUDA's squared norm is finite exactly where all values are") {
  for (const std::size_t count : {1, 9, 2050}) {
    std::vector<double> values(count, 3e38);
    CHECK(std::isfinite(squared_norm(values)));
    for (const std::size_t place : {std::size_t{0}, count / 2, count - 1}) {
      for (const double bad :
           {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
        values[place] = bad;
        CHECK_FALSE(std::isfinite(squared_norm(values)));
        values[place] = 0;
      }
    }
  }
}

TEST_CASE("CUDA's hashes are those of the CPU") {
  // Of no element, of fewer than a block has threads, and of more.
  const std::vector<FlatRange> ranges{{0, 1}, {64, 0}, {64, 300}, {512, 1537}};
  std::vector<double> values = random_values(2049, 6);
  const AnyArray there(values, Dtype::kF32);
  const std::vector<float> here(values.begin(), values.end());
  const DeviceArray<FlatRange> ranges_there(ranges);
  std::vector<std::uint64_t> expected(ranges.size());
  backend(Device::kCpu)
      .optim.hash({here.data(), ranges.data(), ranges.size(), expected.data()});
  in_all_orders([&] {
    const DeviceArray<std::uint64_t> got(ranges.size());
    cuda::make_optim()->hash({static_cast<const float*>(there.data()),
                              ranges_there.data(), ranges.size(), got.data()});
    CHECK((got.to_host() == expected));
    return Bits{};
  });
}

TEST_CASE("CUDA's LARS is near to that of the CPU, in one order") {
  const std::vector<FlatRange> ranges{
      {0, 700}, {704, 0}, {704, 1}, {768, 1281}};
  std::vector<double> parameter = random_values(2049, 7);
  std::vector<double> grad = random_values(2049, 8);
  const AnyArray parameter_there(parameter, Dtype::kF32);
  const DeviceArray<FlatRange> ranges_there(ranges);
  const std::vector<float> here(parameter.begin(), parameter.end());
  for (const std::uint32_t skip : {0, 1}) {
    const SgdStep step{.lr = 1, .gradient_scale = 0.25f, .skip = skip};
    const DeviceArray<SgdStep> step_there(std::vector<SgdStep>{step});
    std::vector<float> expected(grad.begin(), grad.end());
    backend(Device::kCpu)
        .optim.lars({here.data(), expected.data(), ranges.data(), ranges.size(),
                     &step, 0.02f, 1e-2f});
    in_all_orders([&] {
      const AnyArray grad_there(grad, Dtype::kF32);
      cuda::make_optim()->lars(
          {static_cast<const float*>(parameter_there.data()),
           static_cast<float*>(grad_there.data()), ranges_there.data(),
           ranges.size(), step_there.data(), 0.02f, 1e-2f});
      const std::vector<double> got = grad_there.values();
      for (std::size_t i = 0; i < got.size(); ++i) {
        INFO(i);
        CHECK(got[i] == Approx(expected[i]).epsilon(1e-5).margin(1e-7));
      }
      return Bits{grad_there.raw()};
    });
  }
}

TEST_CASE("CUDA's moving average agrees with its formula, unless skipped") {
  for (const std::size_t count : {1, 255, 2049}) {
    std::vector<double> values = random_values(count, 9);
    const AnyArray there(values, Dtype::kF32);
    for (const std::uint32_t skip : {0, 1}) {
      const DeviceArray<SgdStep> step(
          std::vector<SgdStep>{{.lr = 1, .skip = skip}});
      in_all_orders([&] {
        std::vector<double> wanted = random_values(count, 10);
        const AnyArray average(wanted, Dtype::kF32);
        for (const SgdStep* told :
             {step.data(), static_cast<SgdStep*>(nullptr)}) {
          cuda::make_optim()->ema(
              {.count = count,
               .values = static_cast<const float*>(there.data()),
               .average = static_cast<float*>(average.data()),
               .decay = 0.75f,
               .step = told});
          if (told != nullptr && skip == 1) continue;
          for (std::size_t i = 0; i < count; ++i) {
            wanted[i] = 0.75 * wanted[i] + 0.25 * values[i];
          }
        }
        CHECK(largest_error(average.values(), wanted) < 3e-7);
        return Bits{average.raw()};
      });
    }
  }
}
