// What NCCL does on GPUs, for ranks that are threads: the parts of
// collectives/gpu/nccl_library.cpp that training needs, once more.

#include <atomic>
#include <barrier>
#include <cstring>
#include <map>
#include <mutex>

#include "collectives/gpu/nccl_library.h"
#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/streams.h"

namespace ringlet {
namespace {

// The ranks of one communicator. Each comes to each call.
struct Group {
  explicit Group(int size)
      : meeting(size),
        inputs(static_cast<std::size_t>(size)),
        outputs(inputs.size()) {}

  std::barrier<> meeting;
  // By rank, of the call that is on.
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
};

std::shared_ptr<Group> group_named(std::uint64_t id, int size) {
  static std::mutex mutex;
  static std::map<std::uint64_t, std::shared_ptr<Group>> groups;
  const std::lock_guard lock(mutex);
  std::shared_ptr<Group>& group = groups[id];
  if (!group) group = std::make_shared<Group>(size);
  return group;
}

class Rank final : public NcclRank {
 public:
  Rank(std::shared_ptr<Group> group, int rank, void* stream)
      : group_(std::move(group)), rank_(rank), stream_(stream) {}

  Work start(const Collective& call) override {
    if (call.kind != CollectiveKind::kAllReduce) {
      throw Error("only NCCL's all_reduce is emulated");
    }
    cudacpu::check_kernel_pointer(call.input, 1);
    cudacpu::check_kernel_pointer(call.output, 2);
    cudacpu::enqueue(stream_, [group = group_, rank = rank_, call] {
      group->inputs[static_cast<std::size_t>(rank)] = call.input;
      group->outputs[static_cast<std::size_t>(rank)] = call.output;
      group->meeting.arrive_and_wait();
      if (rank == 0) {
        const cudacpu::DeviceAccess access;
        reduce_tree(group->outputs.data(), group->outputs.size(),
                    group->inputs.data(), group->inputs.size(), call.count,
                    call.dtype, call.op);
      }
      group->meeting.arrive_and_wait();
    });
    return {};
  }

 private:
  std::shared_ptr<Group> group_;
  int rank_;
  void* stream_;
};

class Library final : public NcclLibrary {
 public:
  std::string version() override { return "NCCL among threads"; }
  void make_id(void* id) override {
    static std::atomic<std::uint64_t> next = 1;
    const std::uint64_t made = next++;
    std::memcpy(id, &made, sizeof(made));
  }
  std::unique_ptr<NcclRank> connect(const void* id, int rank, int size,
                                    void* stream) override {
    std::uint64_t given = 0;
    std::memcpy(&given, id, sizeof(given));
    return std::make_unique<Rank>(group_named(given, size), rank, stream);
  }
};

}  // namespace
}  // namespace ringlet

extern "C" ringlet::NcclLibrary* ringlet_nccl_library() {
  static ringlet::Library library;
  return &library;
}
