#include "kernels/optim.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/cpu/families.h"
#include "kernels/cpu/vec.h"
#include "kernels/runtime/check.h"

namespace ringlet::cpu {
namespace {

// Elements that share a byte of SgdArgs::decays.
constexpr std::size_t kLanes = 8;
// Elements of a few arrays that a core's first cache holds.
constexpr std::size_t kBlock = 1 << 10;

class Optim final : public OptimKernels {
 public:
  void sgd(const SgdArgs& args) override {
    RINGLET_CHECK(args.half_copy == nullptr || args.half_dtype == Dtype::kBF16,
                  "sgd on the CPU: a copy in {}, expected bf16",
                  name_of(args.half_dtype));
    for (const HashArgs& hash : args.hashes) clear(hash);
#pragma omp parallel for
    for (std::size_t begin = 0; begin < args.count; begin += kBlock) {
      const std::size_t end = std::min(args.count, begin + kBlock);
      if (args.step->skip == 0) update(args, begin, end);
      for (const HashArgs& hash : args.hashes) add_hashes(hash, begin, end);
    }
  }

  // In parts of fixed size, so that the threads do not matter.
  void squared_norm(std::size_t count, const float* values,
                    double* result) override {
    constexpr std::size_t kPart = 1 << 16;
    const std::size_t parts = (count + kPart - 1) / kPart;
    sums_.assign(parts, 0);
#pragma omp parallel for
    for (std::size_t part = 0; part < parts; ++part) {
      const std::size_t end = std::min(count, (part + 1) * kPart);
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::size_t i = part * kPart; i < end; ++i) {
        const auto value = static_cast<double>(values[i]);
        sum += value * value;
      }
      sums_[part] = sum;
    }
    *result = std::accumulate(sums_.begin(), sums_.end(), 0.0);
  }

  void lars(const LarsArgs& args) override {
    if (args.step->skip != 0) return;
    const float scale = args.step->gradient_scale;
    for (std::size_t range = 0; range < args.range_count; ++range) {
      const auto [begin, count] = args.ranges[range];
      const float* parameter = args.parameter + begin;
      float* grad = args.grad + begin;
      double squares = 0, squares_of_grad = 0;
      squared_norm(count, parameter, &squares);
      squared_norm(count, grad, &squares_of_grad);
      const LarsFactors factors =
          lars_factors(std::sqrt(squares), std::sqrt(squares_of_grad) * scale,
                       args.trust, args.weight_decay);
      // sgd() is to multiply by the scale.
      const float ratio = factors.ratio, decay = factors.decay / scale;
#pragma omp parallel for simd
      for (std::size_t i = 0; i < count; ++i) {
        grad[i] = ratio * (grad[i] + decay * parameter[i]);
      }
    }
  }

  void ema(const EmaArgs& args) override {
    if (args.step != nullptr && args.step->skip != 0) return;
    const float rate = 1 - args.decay;
#pragma omp parallel for simd
    for (std::size_t i = 0; i < args.count; ++i) {
      args.average[i] =
          std::fma(rate, args.values[i] - args.average[i], args.average[i]);
    }
  }

  void hash(const HashArgs& args) override {
    clear(args);
    if (args.range_count == 0) return;
    const FlatRange& last = args.ranges[args.range_count - 1];
    const std::size_t count = last.begin + last.count;
#pragma omp parallel for
    for (std::size_t begin = 0; begin < count; begin += kBlock) {
      add_hashes(args, begin, std::min(count, begin + kBlock));
    }
  }

 private:
  static void clear(const HashArgs& args) {
    std::fill_n(args.hashes, args.range_count, 0);
  }

  // Adds what elements [begin, end) add to the hashes of the ranges they are
  // of.
  static void add_hashes(const HashArgs& args, std::size_t begin,
                         std::size_t end) {
    const FlatRange* const last = args.ranges + args.range_count;
    const FlatRange* range = std::partition_point(
        args.ranges, last,
        [&](const FlatRange& r) { return r.begin + r.count <= begin; });
    for (; range != last && range->begin < end; ++range) {
      const std::size_t from = std::max(begin, range->begin);
      const std::size_t to = std::min(end, range->begin + range->count);
      const float* values = args.values + from;
      // 32 bits, as the factors have: a wider index takes five times as long.
      const auto index = static_cast<std::uint32_t>(from - range->begin);
      const auto count = static_cast<std::uint32_t>(to - from);
      std::uint64_t sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::uint32_t i = 0; i < count; ++i) {
        sum += hash_term(std::bit_cast<std::uint32_t>(values[i]), index + i);
      }
#pragma omp atomic
      args.hashes[range - args.ranges] += sum;
    }
  }

  // Elements [begin, end).
  static void update(const SgdArgs& args, std::size_t begin, std::size_t end) {
    std::size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      update(args, i, load<kLanes>(args.grad + i),
             load<kLanes>(args.momentum_buffer + i),
             load<kLanes>(args.parameter + i), kLanes);
    }
    const std::size_t rest = end - i;
    if (rest == 0) return;
    update(args, i, load_part<kLanes>(args.grad + i, rest),
           load_part<kLanes>(args.momentum_buffer + i, rest),
           load_part<kLanes>(args.parameter + i, rest), rest);
  }

  // Elements i ... i + count - 1.
  static void update(const SgdArgs& args, std::size_t i, Vec<kLanes> grad,
                     Vec<kLanes> m, Vec<kLanes> p, std::size_t count) {
    Vec<kLanes> decay = Vec<kLanes>{} + args.weight_decay;
    if (args.decays != nullptr) {
      decay = keep_where<kLanes>(args.decays + i / kLanes, decay);
    }
    const Vec<kLanes> g = grad * args.step->gradient_scale + decay * p;
    m = args.momentum * m + g;
    p -= args.step->lr * (args.nesterov ? g + args.momentum * m : m);
    std::memcpy(args.momentum_buffer + i, &m, count * sizeof(float));
    std::memcpy(args.parameter + i, &p, count * sizeof(float));
    if (args.half_copy == nullptr) return;
    std::array<BFloat16, kLanes> half;
    store<kLanes>(half.data(), p);
    std::copy_n(half.data(), count, as<BFloat16>(args.half_copy) + i);
  }

  std::vector<double> sums_;
};

}  // namespace

std::unique_ptr<OptimKernels> make_optim() { return std::make_unique<Optim>(); }

}  // namespace ringlet::cpu
