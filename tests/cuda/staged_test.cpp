#include <atomic>

#include "collectives/staged_communicator.h"
#include "cuda/support.h"
#include "kernels/runtime/check.h"
#include "support/spawn_ranks.h"

using namespace ringlet;
using namespace ringlet::testing;

namespace {

// Small integers, so that sums are exact in any order.
std::vector<float> values_of(int rank, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    values[i] = static_cast<float>((rank + 2) * static_cast<int>(i % 17 + 1));
  }
  return values;
}

// Runs a call on device arrays and, on another communicator's host arrays, the
// same call; both give what the output is afterwards.
void check_staged(int ranks, CollectiveKind kind, std::size_t count,
                  bool in_place, ReduceOp op = ReduceOp::kSum) {
  INFO(name_of(kind) << " of " << count << " on " << ranks << " ranks, "
                     << (in_place ? "in place" : "apart"));
  const auto parts = static_cast<std::size_t>(ranks);
  const bool gathers = kind == CollectiveKind::kAllGather;
  const bool scatters = kind == CollectiveKind::kReduceScatter;
  const std::size_t in = scatters ? parts * count : count;
  const std::size_t out = gathers ? parts * count : count;
  std::atomic<int> wrong = 0;
  spawn_ranks(ranks, [&](Communicator& host) {
    const std::unique_ptr<Communicator> device = make_staged_communicator(host);
    const auto part = static_cast<std::size_t>(host.rank()) * count;
    Collective call{.kind = kind,
                    .count = count,
                    .dtype = Dtype::kF32,
                    .op = op,
                    .root = ranks - 1};
    if (kind == CollectiveKind::kBroadcast) {
      call.count = count * sizeof(float);
      call.dtype = Dtype::kU8;
    }
    const std::vector<float> values = values_of(host.rank(), in);
    std::vector<float> input(std::max(in, out)), output(std::max(in, out));
    std::copy(values.begin(), values.end(),
              input.begin() + (gathers && in_place ? part : 0));
    const Buffer there = device->allocate(2 * input.size() * sizeof(float));
    auto* device_input = reinterpret_cast<float*>(there.data());
    auto* device_output = in_place ? device_input : device_input + input.size();
    copy_memory(device_input, Device::kCuda, input.data(), Device::kCpu,
                input.size() * sizeof(float));
    const auto set = [&](float* from, float* to) {
      call.input = gathers && in_place ? from + part : from;
      call.output = scatters && in_place ? to + part : to;
    };
    set(input.data(), in_place ? input.data() : output.data());
    const auto* expected = static_cast<const float*>(call.output);
    host.run(call);
    set(device_input, device_output);
    const auto* result = static_cast<const float*>(call.output);
    Work work = device->start(call);
    work.wait();
    std::vector<float> got(out);
    copy_memory(got.data(), Device::kCpu, result, Device::kCuda,
                out * sizeof(float));
    const bool matters =
        kind != CollectiveKind::kReduce || host.rank() == call.root;
    if (matters && !std::equal(got.begin(), got.end(), expected)) ++wrong;
    // What it was given is left as it is.
    if (in_place) return;
    copy_memory(got.data(), Device::kCpu, device_input, Device::kCuda,
                std::min(in, out) * sizeof(float));
    if (!std::equal(got.begin(),
                    got.begin() + static_cast<long>(std::min(in, out)),
                    values.begin())) {
      ++wrong;
    }
  });
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("collectives on a GPU's memory by way of the host") {
  const int ranks = GENERATE(1, 2, 3);
  for (const std::size_t count : {0, 1, 1000}) {
    for (const bool in_place : {true, false}) {
      check_staged(ranks, CollectiveKind::kAllReduce, count, in_place);
      check_staged(ranks, CollectiveKind::kAllReduce, count, in_place,
                   ReduceOp::kMax);
      check_staged(ranks, CollectiveKind::kReduceScatter, count, in_place);
      check_staged(ranks, CollectiveKind::kAllGather, count, in_place);
    }
    check_staged(ranks, CollectiveKind::kReduce, count, true);
    check_staged(ranks, CollectiveKind::kBroadcast, count, true);
  }
}

TEST_CASE("a part of an array on the GPU is reduced in its double") {
  spawn_ranks(2, [](Communicator& host) {
    const auto device = make_staged_communicator(host);
    const Buffer memory = device->allocate(100 * sizeof(float));
    auto* data = reinterpret_cast<float*>(memory.data());
    const std::vector<float> values = values_of(host.rank(), 100);
    copy_memory(data, Device::kCuda, values.data(), Device::kCpu,
                100 * sizeof(float));
    Work first =
        device->all_reduce_async(data, 30, Dtype::kF32, ReduceOp::kSum);
    Work last =
        device->all_reduce_async(data + 60, 40, Dtype::kF32, ReduceOp::kSum);
    first.wait();
    last.wait();
    std::vector<float> got(100);
    copy_memory(got.data(), Device::kCpu, data, Device::kCuda,
                100 * sizeof(float));
    for (std::size_t i = 0; i < 100; ++i) {
      const bool summed = i < 30 || i >= 60;
      const float expected =
          summed ? values_of(0, 100)[i] + values_of(1, 100)[i] : values[i];
      RINGLET_CHECK(got[i] == expected, "element {} is {}, expected {}", i,
                    got[i], expected);
    }
  });
}
