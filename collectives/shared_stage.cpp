#include "collectives/shared_stage.h"

#include <cstring>

namespace ringlet {

SharedStage::SharedStage(HostMemory& memory, Transport& transport,
                         std::size_t block_bytes)
    : rank_(memory.rank()),
      job_rank_(memory.job_rank(memory.rank())),
      block_bytes_(block_bytes) {
  const Buffer mine = memory.allocate(transport, 2 * block_bytes);
  const SharedPlace place = *memory.find(mine.data(), mine.bytes());
  for (int r = 0; r < memory.size(); ++r) {
    stages_.push_back(memory.at(r, place));
  }
}

std::byte* SharedStage::own(std::size_t half) const {
  return at(static_cast<std::size_t>(rank_), half);
}

void SharedStage::copy_in(const Collective& call, std::size_t parts,
                          Range range, std::size_t stride, std::size_t half) {
  if (call.kind == CollectiveKind::kBroadcast && job_rank_ != call.root) return;
  const std::size_t width = size_of(call.dtype);
  const auto* input = static_cast<const std::byte*>(call.input);
  for (std::size_t p = 0; p < parts; ++p) {
    std::memcpy(own(half) + p * stride * width,
                input + (p * call.count + range.begin) * width,
                range.count * width);
  }
}

void SharedStage::copy_out(const Collective& call, Range range,
                           std::size_t half) {
  const bool gets =
      call.kind == CollectiveKind::kAllReduce ||
      (call.kind == CollectiveKind::kReduce && job_rank_ == call.root);
  if (!gets) return;
  const std::size_t width = size_of(call.dtype);
  std::memcpy(static_cast<std::byte*>(call.output) + range.begin * width,
              own(half), range.count * width);
}

}  // namespace ringlet
