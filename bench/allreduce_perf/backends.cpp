#include "bench/allreduce_perf/backends.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "bench/peers/gloo_peer.h"
#include "bench/peers/open_mpi_algorithm.h"
#include "collectives/algorithm_communicator.h"
#include "collectives/chrome_trace.h"
#include "collectives/gpu/nccl_communicator.h"
#include "collectives/mpi_communicator.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/threads.h"

namespace ringlet {
namespace {

constexpr const char* kOthers[] = {"auto", "mpi", "mpi_communicator", "gloo"};

constexpr std::string_view kGuard = "+guard", kPinned = "+pinned";
constexpr std::string_view kF16 = "+f16", kBF16 = "+bf16";
constexpr const char* kNccl = "nccl";

// Whether `text` ended with it.
bool remove_end(std::string& text, std::string_view end) {
  const bool there = text.ends_with(end);
  if (there) text.resize(text.size() - end.size());
  return there;
}

struct Spec {
  bool guarded, pinned;
  Dtype wire = Dtype::kF32;
  std::string name;
  std::string argument;  // behind the colon

  explicit Spec(std::string text)
      : guarded(remove_end(text, kGuard)), pinned(remove_end(text, kPinned)) {
    if (remove_end(text, kF16)) {
      wire = Dtype::kF16;
    } else if (remove_end(text, kBF16)) {
      wire = Dtype::kBF16;
    }
    name = text.substr(0, text.find(':'));
    argument = text.substr(std::min(name.size() + 1, text.size()));
  }

  bool ours() const {
    const auto& all = algorithm_names();
    return std::find(all.begin(), all.end(), name) != all.end();
  }
};

// MPI's collective as it is: without checks, counting and a progress thread.
class BareMpi final : public Communicator {
 public:
  explicit BareMpi(int algorithm)
      : forced_(algorithm), mpi_(make_mpi_collectives()) {
    forced_.release();
  }

  std::string name() const override { return "mpi"; }
  int rank() const override { return mpi_->rank(); }
  int size() const override { return mpi_->size(); }
  void run(const Collective& call) override { mpi_->run(call); }
  Work start(const Collective& call) override {
    run(call);
    return {};
  }

 private:
  OpenMpiAlgorithm forced_;
  std::unique_ptr<HostCollectives> mpi_;
};

// Of mpi:N; 0: MPI's choice, or not MPI.
int algorithm_of(const Spec& spec) {
  return spec.name == "mpi" ? std::atoi(spec.argument.c_str()) : 0;
}

}  // namespace

std::string backend_help() {
  return fmt::format(
      "{} (with :SLICE, as ring:1M), {} (mpi with :N, Open MPI's algorithm "
      "N), on a GPU nccl; with +pinned behind it, on a GPU not by CUDA IPC; "
      "with +bf16 or +f16, with 16 bits on the wire; with +guard, checked and "
      "watched as in training",
      fmt::join(algorithm_names(), ", "), fmt::join(kOthers, ", "));
}

Dtype wire_of(const std::string& text) { return Spec(text).wire; }

bool is_nccl(const std::string& text) {
  const Spec spec(text);
  return spec.name == kNccl && spec.argument.empty() && !spec.guarded &&
         !spec.pinned;
}

void check_backend(const std::string& text, Device device) {
  const Spec spec(text);
  const bool on_gpu = device == Device::kCuda;
  if (!on_gpu && (is_nccl(text) || spec.pinned)) {
    throw Error(fmt::format("--backends: '{}' expects --device cuda", text));
  }
  if (is_nccl(text)) {
    if (const std::string why_not = why_no_nccl(); !why_not.empty()) {
      throw Error("--backends: nccl: " + why_not);
    }
    return;
  }
  const bool known =
      spec.ours() || std::find(std::begin(kOthers), std::end(kOthers),
                               spec.name) != std::end(kOthers);
  if (!known) {
    throw Error(fmt::format("--backends: unknown '{}', expected {}", text,
                            backend_help()));
  }
  if (spec.pinned && spec.name != "auto" && !spec.ours()) {
    throw Error(
        fmt::format("--backends: '{}' copies whole arrays to the host; "
                    "expected auto, or one of ours, before {}",
                    text, kPinned));
  }
  const bool has_wire =
      spec.name == "auto" || (spec.ours() && spec.name != "shared");
  if (spec.wire != Dtype::kF32 && !has_wire) {
    throw Error(
        fmt::format("--backends: '{}' has no wire of 16 bits, expected auto, "
                    "nccl, or one of ours but shared",
                    text));
  }
  const bool foreign = spec.name == "gloo" || algorithm_of(spec) > 0;
  if (spec.guarded && foreign) {
    throw Error(
        fmt::format("--backends: '{}' goes past our guard, expected auto, one "
                    "of ours, or mpi before {}",
                    text, kGuard));
  }
  if (spec.argument.empty()) return;
  if (spec.ours()) {
    parse_bytes(spec.argument);
  } else if (algorithm_of(spec) < 1 ||
             algorithm_of(spec) > kOpenMpiAlgorithms) {
    throw Error(fmt::format(
        "--backends: '{}', expected a slice behind ours, or 1 to {} behind mpi",
        text, kOpenMpiAlgorithms));
  }
}

// NCCL refuses two ranks on one GPU, but from 2.30.3 on where this variable
// asks for it.
std::vector<std::string> drop_impossible(PerfOptions& options,
                                         Communicator& control) {
  if (options.device == Device::kCpu) return {};
  const char* several = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
  std::int32_t shared = launch_info().local_size > cuda::library().gpu_count();
  control.all_reduce(&shared, 1, Dtype::kI32, ReduceOp::kMax);
  if (shared == 0) return {};
  std::vector<std::string> notes{
      "Ranks share a GPU: functional, no measure of speed"};
  const bool nccl_may = several != nullptr && std::string(several) == "1";
  if (!nccl_may && std::erase_if(options.backends, is_nccl) > 0) {
    notes.push_back("nccl: not run, since it refuses ranks that share a GPU");
  }
  if (options.backends.empty()) {
    throw SharedError("--backends nccl: refuses ranks that share a GPU");
  }
  if (is_nccl(options.baseline) && !nccl_may) {
    options.baseline = options.backends.front();
  }
  return notes;
}

std::string first_of_ours(const std::vector<std::string>& specs) {
  for (const std::string& text : specs) {
    if (Spec(text).ours()) return text;
  }
  throw Error(fmt::format("--trace: expected one of {} among --backends",
                          fmt::join(algorithm_names(), ", ")));
}

void prepare_backends(const std::vector<std::string>& specs) {
  // Nothing computes beside the calls, so MPI waits as it does in a program of
  // its own: it spins, unless ranks share cores.
  const bool shared = launch_info().local_size > host_cores();
  setenv("OMPI_MCA_mpi_yield_when_idle", shared ? "1" : "0", 0);
  for (const std::string& text : specs) {
    if (algorithm_of(Spec(text)) > 0) return prepare_open_mpi_algorithms();
  }
}

std::unique_ptr<Communicator> make_backend(const std::string& text,
                                           const PerfOptions& options) {
  const Spec spec(text);
  if (spec.name == "mpi" && !spec.guarded) {
    return std::make_unique<BareMpi>(algorithm_of(spec));
  }
  if (spec.name == "gloo") return make_gloo_peer();
  CommunicatorOptions communicator;
  if (!spec.guarded) communicator.guard.reset();
  communicator.ipc = !spec.pinned;
  communicator.algorithm_table = options.comm_table;
  if (!spec.argument.empty()) {
    communicator.slice_bytes = parse_bytes(spec.argument);
  }
  return make_communicator(spec.name == "mpi_communicator" ? "mpi" : spec.name,
                           communicator);
}

void write_trace(const PerfOptions& options) {
  const Spec spec(first_of_ours(options.backends));
  CommunicatorOptions recorded;
  recorded.recorder = std::make_shared<Recorder>();
  if (!spec.argument.empty()) recorded.slice_bytes = parse_bytes(spec.argument);
  const auto communicator = make_communicator(spec.name, recorded);
  const std::size_t count = options.max_bytes / sizeof(float);
  std::vector<float> data(count, 1);
  Collective call{CollectiveKind::kAllReduce, data.data(), data.data(), count,
                  Dtype::kF32};
  call.wire = spec.wire;
  communicator->run(call);
  const auto traces = gather_traces(*communicator);
  if (communicator->rank() == 0) {
    write_chrome_trace(options.trace_file, traces);
  }
}

}  // namespace ringlet
