#include "collectives/gpu/nccl_library.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstring>

namespace ringlet {
namespace {

// The program's end names the rank.
[[noreturn]] void fail(const char* call, const std::string& why) {
  int gpu = 0;
  static_cast<void>(cudaGetDevice(&gpu));
  throw Error(std::string(call) + " failed on GPU " + std::to_string(gpu) +
              ": " + why);
}

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  fail(call, std::string(cudaGetErrorString(status)) + " (" +
                 cudaGetErrorName(status) + ")");
}

void check(ncclResult_t status, const char* call, ncclComm_t comm = nullptr) {
  if (status == ncclSuccess) return;
  fail(call,
       std::string(ncclGetErrorString(status)) + ": " + ncclGetLastError(comm));
}

#define RINGLET_CALL(call) check((call), #call)

ncclDataType_t type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF64:
      return ncclFloat64;
    case Dtype::kI32:
      return ncclInt32;
    case Dtype::kI64:
      return ncclInt64;
    case Dtype::kU8:
      return ncclUint8;
    case Dtype::kF16:
      return ncclFloat16;
    case Dtype::kBF16:
      return ncclBfloat16;
    case Dtype::kF32:
      break;
  }
  return ncclFloat32;
}

ncclRedOp_t op_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kProd:
      return ncclProd;
    case ReduceOp::kMin:
      return ncclMin;
    case ReduceOp::kMax:
      return ncclMax;
    case ReduceOp::kAvg:
      return ncclAvg;
    case ReduceOp::kSum:
      break;
  }
  return ncclSum;
}

// A moment on a stream, for others to wait for.
class Event {
 public:
  explicit Event(cudaStream_t stream) {
    RINGLET_CALL(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
    RINGLET_CALL(cudaEventRecord(event_, stream));
  }
  ~Event() { static_cast<void>(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void hold(cudaStream_t stream) const {
    RINGLET_CALL(cudaStreamWaitEvent(stream, event_, 0));
  }
  bool is_over() const { return cudaEventQuery(event_) == cudaSuccess; }

 private:
  cudaEvent_t event_ = nullptr;
};

class EventWork final : public Work::State {
 public:
  EventWork(cudaStream_t from, cudaStream_t waiting)
      : done_(from), waiting_(waiting) {}

  void wait() override { done_.hold(waiting_); }
  bool done() const override { return done_.is_over(); }

 private:
  Event done_;
  cudaStream_t waiting_;
};

class Rank final : public NcclRank {
 public:
  Rank(const ncclUniqueId& id, int rank, int size, cudaStream_t compute)
      : compute_(compute) {
    int lowest = 0, highest = 0;
    RINGLET_CALL(cudaDeviceGetStreamPriorityRange(&lowest, &highest));
    RINGLET_CALL(
        cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, highest));
    RINGLET_CALL(ncclCommInitRank(&comm_, size, id, rank));
  }
  ~Rank() override {
    if (comm_ != nullptr) static_cast<void>(ncclCommDestroy(comm_));
    static_cast<void>(cudaStreamDestroy(stream_));
  }
  Rank(const Rank&) = delete;
  Rank& operator=(const Rank&) = delete;

  Work start(const Collective& call) override {
    if (comm_ == nullptr) throw Error("NCCL has failed before");
    ncclResult_t earlier = ncclSuccess;
    RINGLET_CALL(ncclCommGetAsyncError(comm_, &earlier));
    if (earlier != ncclSuccess) give_up(earlier);
    Event(compute_).hold(stream_);
    enqueue(call);
    return Work(std::make_shared<EventWork>(stream_, compute_));
  }

 private:
  // The others' waits are cut short too.
  [[noreturn]] void give_up(ncclResult_t error) {
    const std::string why =
        std::string(ncclGetErrorString(error)) + ": " + ncclGetLastError(comm_);
    static_cast<void>(ncclCommAbort(comm_));
    comm_ = nullptr;
    throw Error("NCCL failed in an earlier call: " + why);
  }

  void enqueue(const Collective& c) {
    const ncclDataType_t type = type_of(c.dtype);
    const ncclRedOp_t op = op_of(c.op);
    switch (c.kind) {
      case CollectiveKind::kAllReduce:
        return check(
            ncclAllReduce(c.input, c.output, c.count, type, op, comm_, stream_),
            "ncclAllReduce", comm_);
      case CollectiveKind::kReduceScatter:
        return check(ncclReduceScatter(c.input, c.output, c.count, type, op,
                                       comm_, stream_),
                     "ncclReduceScatter", comm_);
      case CollectiveKind::kAllGather:
        return check(
            ncclAllGather(c.input, c.output, c.count, type, comm_, stream_),
            "ncclAllGather", comm_);
      case CollectiveKind::kReduce:
        return check(ncclReduce(c.input, c.output, c.count, type, op, c.root,
                                comm_, stream_),
                     "ncclReduce", comm_);
      case CollectiveKind::kBroadcast:
        return check(ncclBroadcast(c.input, c.output, c.count, type, c.root,
                                   comm_, stream_),
                     "ncclBroadcast", comm_);
      case CollectiveKind::kBarrier:
        break;
    }
    throw Error("NCCL has no barrier");
  }

  cudaStream_t compute_, stream_ = nullptr;
  ncclComm_t comm_ = nullptr;
};

class Library final : public NcclLibrary {
 public:
  std::string version() override {
    int version = 0;  // 22809 is 2.28.9
    RINGLET_CALL(ncclGetVersion(&version));
    return "NCCL " + std::to_string(version / 10000) + "." +
           std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }

  void make_id(void* id) override {
    static_assert(sizeof(ncclUniqueId) == kIdBytes);
    ncclUniqueId made;
    RINGLET_CALL(ncclGetUniqueId(&made));
    std::memcpy(id, &made, sizeof(made));
  }

  std::unique_ptr<NcclRank> connect(const void* id, int rank, int size,
                                    void* stream) override {
    ncclUniqueId given;
    std::memcpy(&given, id, sizeof(given));
    return std::make_unique<Rank>(given, rank, size,
                                  static_cast<cudaStream_t>(stream));
  }
};

}  // namespace
}  // namespace ringlet

extern "C" __attribute__((visibility("default"))) ringlet::NcclLibrary*
ringlet_nccl_library() {
  static ringlet::Library library;
  return &library;
}
