#include "collectives/communicator.h"

#include "kernels/runtime/check.h"

namespace ringlet {

const char* name_of(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::kAllReduce:
      return "all_reduce";
    case CollectiveKind::kReduceScatter:
      return "reduce_scatter";
    case CollectiveKind::kAllGather:
      return "all_gather";
    case CollectiveKind::kReduce:
      return "reduce";
    case CollectiveKind::kBroadcast:
      return "broadcast";
    case CollectiveKind::kBarrier:
      break;
  }
  return "barrier";
}

std::string describe(const Collective& call) {
  std::string text = name_of(call.kind);
  if (call.tag == kLastCall) return "the end of its calls";
  if (call.kind == CollectiveKind::kBarrier) return text;
  text += fmt::format(" of {} {}", call.count, name_of(call.dtype));
  switch (call.kind) {
    case CollectiveKind::kAllReduce:
    case CollectiveKind::kReduceScatter:
      text += fmt::format(", {}", name_of(call.op));
      break;
    case CollectiveKind::kReduce:
      text += fmt::format(", {} to rank {}", name_of(call.op), call.root);
      break;
    case CollectiveKind::kBroadcast:
      text += fmt::format(" from rank {}", call.root);
      break;
    default:
      break;
  }
  if (call.wire != Dtype::kF32) {
    text += fmt::format(", {} on the wire", name_of(call.wire));
  }
  if (call.device == Device::kCuda) text += ", on a GPU";
  if (call.tag >= 0) text += fmt::format(", bucket {}", call.tag);
  return text;
}

namespace {

void check_wire(const Collective& call) {
  const bool half = call.wire == Dtype::kF16 || call.wire == Dtype::kBF16;
  const bool adds = call.op == ReduceOp::kSum || call.op == ReduceOp::kAvg;
  if (!half || !adds || call.kind != CollectiveKind::kAllReduce ||
      call.dtype != Dtype::kF32) {
    throw Error(fmt::format(
        "{}: expected f16 or bf16 on the wire of an all_reduce of f32 by sum "
        "or avg",
        describe(call)));
  }
}

}  // namespace

void check_call(const Collective& call, int ranks) {
  RINGLET_CHECK(0 <= call.root && call.root < ranks, "{}: root {} of {} ranks",
                name_of(call.kind), call.root, ranks);
  if (call.op == ReduceOp::kAvg && !is_floating(call.dtype)) {
    throw Error(fmt::format(
        "{}: avg of {}: an average of integers is not an integer; expected "
        "f32, f64, f16 or bf16",
        name_of(call.kind), name_of(call.dtype)));
  }
  if (call.wire != Dtype::kF32) check_wire(call);
}

}  // namespace ringlet
