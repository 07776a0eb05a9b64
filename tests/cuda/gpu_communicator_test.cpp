#include "collectives/gpu/gpu_communicator.h"

#include <atomic>
#include <optional>

#include "cuda/support.h"
#include "kernels/runtime/check.h"
#include "support/spawn_ranks.h"

#ifdef RINGLET_CUDACPU
#include "support/cudacpu/streams.h"
#endif

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

// How arrays on GPUs come together.
struct Way {
  std::string algorithm;
  bool ipc;
};

// Runs a call on device arrays and, on the same communicator, on host arrays;
// both give what the output is afterwards.
void check_call_of(const Way& way, int ranks, CollectiveKind kind,
                   std::size_t count, bool in_place,
                   ReduceOp op = ReduceOp::kSum, Dtype wire = Dtype::kF32) {
  INFO(way.algorithm << (way.ipc ? " by IPC" : "") << ": " << name_of(kind)
                     << " of " << count << " on " << ranks << " ranks, "
                     << (in_place ? "in place" : "apart") << ", "
                     << name_of(wire) << " on the wire");
  const auto parts = static_cast<std::size_t>(ranks);
  const bool gathers = kind == CollectiveKind::kAllGather;
  const bool scatters = kind == CollectiveKind::kReduceScatter;
  const std::size_t in = scatters ? parts * count : count;
  const std::size_t out = gathers ? parts * count : count;
  std::atomic<int> wrong = 0;
  const auto body = [&](Communicator& host) {
    const std::unique_ptr<Communicator> device = make_gpu_communicator(host);
    const auto part = static_cast<std::size_t>(host.rank()) * count;
    Collective call{.kind = kind,
                    .count = count,
                    .dtype = Dtype::kF32,
                    .op = op,
                    .root = ranks - 1,
                    .wire = wire};
    if (kind == CollectiveKind::kBroadcast) {
      call.count = count * sizeof(float);
      call.dtype = Dtype::kU8;
    }
    std::vector<float> values = values_of(host.rank(), in);
    if (wire != Dtype::kF32) {  // so that something is rounded
      for (float& value : values) value /= 3;
    }
    std::vector<float> input(std::max(in, out)), output(std::max(in, out));
    std::copy(values.begin(), values.end(),
              input.begin() + (gathers && in_place ? part : 0));
    const Buffer there = device->allocate(2 * input.size() * sizeof(float));
    auto* device_input = reinterpret_cast<float*>(there.data());
    auto* device_output = in_place ? device_input : device_input + input.size();
    // What the GPU still has to do when the call is made.
    const Buffer source =
        Buffer::allocate(input.size() * sizeof(float), Device::kCuda);
    copy_memory(source.data(), Device::kCuda, input.data(), Device::kCpu,
                source.bytes());
    copy_memory(device_input, Device::kCuda, source.data(), Device::kCuda,
                source.bytes());
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
  };
  // More slices than there are slots on their way.
  spawn_ranks(ranks, body, {.slice_bytes = 64, .ipc = way.ipc}, way.algorithm);
  CHECK(wrong == 0);
}

// ThreadSanitizer does not see how late streams order what one thread does for
// another.
#if defined(RINGLET_CUDACPU) && !defined(__SANITIZE_THREAD__)
void set_late(bool late) { cudacpu::set_late(late); }
#else
void set_late(bool) {}
#endif

// Streams do what they are given as late as they may, where that can be had.
class LateStreams {
 public:
  LateStreams() { set_late(true); }
  ~LateStreams() { set_late(false); }
  LateStreams(const LateStreams&) = delete;
  LateStreams& operator=(const LateStreams&) = delete;
};

}  // namespace

TEST_CASE("collectives on a GPU's memory", "[collectives]") {
  const Way way =
      GENERATE(Way{"ring", true}, Way{"ring", false}, Way{"naive", true},
               Way{"tree", true}, Way{"recursive_doubling", true},
               Way{"recursive_doubling", false}, Way{"ordered", true},
               Way{"ordered", false}, Way{"shared", true});
  const bool late = GENERATE(true, false);
  std::optional<LateStreams> streams;
  if (late) streams.emplace();
  for (const int ranks : {1, 2, 3, 4}) {
    for (const std::size_t count : {0, 1, 7, 1000}) {
      for (const bool in_place : {true, false}) {
        check_call_of(way, ranks, CollectiveKind::kAllReduce, count, in_place);
        check_call_of(way, ranks, CollectiveKind::kAllReduce, count, in_place,
                      ReduceOp::kAvg);
        check_call_of(way, ranks, CollectiveKind::kAllReduce, count, in_place,
                      ReduceOp::kSum, Dtype::kBF16);
        check_call_of(way, ranks, CollectiveKind::kAllReduce, count, in_place,
                      ReduceOp::kAvg, Dtype::kF16);
        check_call_of(way, ranks, CollectiveKind::kReduceScatter, count,
                      in_place);
        check_call_of(way, ranks, CollectiveKind::kAllGather, count, in_place);
      }
      check_call_of(way, ranks, CollectiveKind::kReduce, count, true);
      check_call_of(way, ranks, CollectiveKind::kBroadcast, count, true);
    }
  }
}

TEST_CASE("several collectives on a GPU's memory may be in flight",
          "[collectives]") {
  const Way way =
      GENERATE(Way{"ring", true}, Way{"ring", false}, Way{"shared", true});
  const LateStreams late;
  const auto body = [&](Communicator& host) {
    const auto device = make_gpu_communicator(host);
    const Buffer memory = device->allocate(100 * sizeof(float));
    auto* data = reinterpret_cast<float*>(memory.data());
    const std::vector<float> values = values_of(host.rank(), 100);
    copy_memory(data, Device::kCuda, values.data(), Device::kCpu,
                100 * sizeof(float));
    Work first =
        device->all_reduce_async(data, 30, Dtype::kF32, ReduceOp::kSum);
    Work last =
        device->all_reduce_async(data + 60, 40, Dtype::kF32, ReduceOp::kSum);
    // On the caller's thread, behind those.
    device->all_reduce(data + 30, 10, Dtype::kF32, ReduceOp::kSum);
    first.wait();
    last.wait();
    std::vector<float> got(100);
    copy_memory(got.data(), Device::kCpu, data, Device::kCuda,
                100 * sizeof(float));
    for (std::size_t i = 0; i < 100; ++i) {
      const bool summed = i < 40 || i >= 60;
      const float expected =
          summed ? values_of(0, 100)[i] + values_of(1, 100)[i] : values[i];
      RINGLET_CHECK(got[i] == expected, "element {} is {}, expected {}", i,
                    got[i], expected);
    }
  };
  spawn_ranks(2, body, {.slice_bytes = 64, .ipc = way.ipc}, way.algorithm);
}

TEST_CASE("the bits of ordered do not depend on the device", "[collectives]") {
  std::atomic<int> wrong = 0;
  const auto body = [&](Communicator& host) {
    const auto device = make_gpu_communicator(host);
    std::vector<double> values =
        random_values(999, static_cast<std::uint32_t>(host.rank()));
    const AnyArray there(values, Dtype::kBF16);
    std::vector<std::byte> here = there.raw();
    host.all_reduce(here.data(), 999, Dtype::kBF16, ReduceOp::kSum);
    device->all_reduce(there.data(), 999, Dtype::kBF16, ReduceOp::kSum);
    synchronize(Device::kCuda);
    if (there.raw() != here) ++wrong;
  };
  spawn_ranks(3, body, {.slice_bytes = 64}, "ordered");
  CHECK(wrong == 0);
}

TEST_CASE("a rank that fails takes those along that wait for its GPU",
          "[collectives]") {
  const bool ipc = GENERATE(true, false);
  const auto body = [&](Communicator& host) {
    const auto device = make_gpu_communicator(host);
    const Buffer memory = device->allocate(4000);
    device->all_reduce(memory.data(), 1000, Dtype::kF32, ReduceOp::kSum);
    if (host.rank() == 1) throw Error("rank 1 has had enough");
    device->all_reduce(memory.data(), 1000, Dtype::kF32, ReduceOp::kSum);
  };
  CHECK_THROWS_WITH(spawn_ranks(3, body, {.slice_bytes = 64, .ipc = ipc}),
                    "rank 1 has had enough");
}
