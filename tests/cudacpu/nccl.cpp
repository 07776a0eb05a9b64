// What NCCL does on GPUs, for ranks that are threads: the parts of
// collectives/nccl_library.cpp that training needs, once more.

#include <atomic>
#include <barrier>
#include <cstring>
#include <map>
#include <mutex>

#include "collectives/nccl_library.h"
#include "support/cudacpu/device_memory.h"
#include "support/cudacpu/streams.h"

namespace ringlet {
namespace {

// The ranks of one communicator. Each comes to each call.
struct Group {
  explicit Group(int size)
      : meeting(size), arrays(static_cast<std::size_t>(size)) {}

  std::barrier<> meeting;
  std::vector<void*> arrays;  // by rank, of the call that is on
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
    if (call.kind != CollectiveKind::kAllReduce || call.input != call.output) {
      throw Error("only all_reduce in place is emulated");
    }
    cudacpu::check_kernel_pointer(call.output, 1);
    cudacpu::enqueue(stream_, [group = group_, rank = rank_, call] {
      group->arrays[static_cast<std::size_t>(rank)] = call.output;
      group->meeting.arrive_and_wait();
      if (rank == 0) {
        const cudacpu::DeviceAccess access;
        const std::vector<const void*> inputs(group->arrays.begin(),
                                              group->arrays.end());
        reduce_tree(group->arrays.data(), inputs.size(), inputs.data(),
                    inputs.size(), call.count, call.dtype, call.op);
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
