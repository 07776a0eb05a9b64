#include "kernels/cuda/matmul.h"

#include <cublasLt.h>

#include <compare>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "kernels/cuda/check.h"
#include "kernels/cuda/context.h"
#include "kernels/cuda/precision.h"
#include "kernels/runtime/error.h"

namespace ringlet::cuda {
namespace {

#define RINGLET_CUBLAS(call) check_cublas((call), #call, __FILE__, __LINE__)

void check_cublas(cublasStatus_t status, const char* call, const char* file,
                  int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail_check(file, line,
             failure_of(call) + cublasLtGetStatusString(status) + " (" +
                 cublasLtGetStatusName(status) + ")");
}

cudaDataType_t type_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF16:
      return CUDA_R_16F;
    case Dtype::kBF16:
      return CUDA_R_16BF;
    default:
      return CUDA_R_32F;
  }
}

// A product's sizes, types and order: what its algorithm depends on.
struct Key {
  std::size_t m, n, k;
  Dtype in_dtype, out_dtype;
  bool a_transposed, b_transposed, tf32;
  auto operator<=>(const Key&) const = default;
};

struct MatrixLayout {
  cublasLtMatrixLayout_t handle = nullptr;

  MatrixLayout(Dtype dtype, std::size_t rows, std::size_t columns) {
    RINGLET_CUBLAS(cublasLtMatrixLayoutCreate(&handle, type_of(dtype), rows,
                                              columns,
                                              static_cast<std::int64_t>(rows)));
  }
  ~MatrixLayout() { cublasLtMatrixLayoutDestroy(handle); }
  MatrixLayout(const MatrixLayout&) = delete;
  MatrixLayout& operator=(const MatrixLayout&) = delete;
};

// A row-major product as cuBLAS wants it: column-major, so that each matrix is
// its own transpose, and c^T = b^T a^T.
struct Problem {
  cublasLtMatmulDesc_t operation = nullptr;
  MatrixLayout left, right, result;

  explicit Problem(const Key& key)
      : left(key.in_dtype, key.b_transposed ? key.k : key.n,
             key.b_transposed ? key.n : key.k),
        right(key.in_dtype, key.a_transposed ? key.m : key.k,
              key.a_transposed ? key.k : key.m),
        result(key.out_dtype, key.n, key.m) {
    const cublasComputeType_t compute =
        key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    RINGLET_CUBLAS(cublasLtMatmulDescCreate(&operation, compute, CUDA_R_32F));
    set(CUBLASLT_MATMUL_DESC_TRANSA, key.b_transposed);
    set(CUBLASLT_MATMUL_DESC_TRANSB, key.a_transposed);
  }
  ~Problem() { cublasLtMatmulDescDestroy(operation); }

 private:
  void set(cublasLtMatmulDescAttributes_t attribute, bool transposed) {
    const cublasOperation_t value = transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
    RINGLET_CUBLAS(cublasLtMatmulDescSetAttribute(operation, attribute, &value,
                                                  sizeof value));
  }
};

class Library {
 public:
  Library() { RINGLET_CUBLAS(cublasLtCreate(&handle_)); }
  ~Library() { cublasLtDestroy(handle_); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  void multiply(const Matmul& args) {
    const bool tf32 = args.in_dtype == Dtype::kF32 && allow_tf32();
    const Key key{args.m,
                  args.n,
                  args.k,
                  args.in_dtype,
                  args.out_dtype,
                  args.a_transposed,
                  args.b_transposed,
                  tf32};
    const Plan& plan = plan_for(key);
    const Problem& p = *plan.problem;
    const float one = 1, zero = 0;
    RINGLET_CUBLAS(
        cublasLtMatmul(handle_, p.operation, &one, args.b, p.left.handle,
                       args.a, p.right.handle, &zero, args.c, p.result.handle,
                       args.c, p.result.handle, &plan.algorithm,
                       workspace(kWorkspaceBytes), kWorkspaceBytes, stream()));
  }

 private:
  // What NVIDIA advises for Hopper.
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;

  struct Plan {
    std::unique_ptr<Problem> problem;
    cublasLtMatmulAlgo_t algorithm;
  };

  const Plan& plan_for(const Key& key) {
    const auto found = plans_.find(key);
    if (found != plans_.end()) return found->second;
    auto problem = std::make_unique<Problem>(key);
    const cublasLtMatmulAlgo_t algorithm = best_algorithm(*problem, key);
    return plans_.emplace(key, Plan{std::move(problem), algorithm})
        .first->second;
  }

  cublasLtMatmulAlgo_t best_algorithm(const Problem& p, const Key& key) {
    cublasLtMatmulPreference_t preference = nullptr;
    RINGLET_CUBLAS(cublasLtMatmulPreferenceCreate(&preference));
    RINGLET_CUBLAS(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes,
        sizeof kWorkspaceBytes));
    // Without these it takes all arrays to begin at multiples of 256 bytes.
    constexpr std::uint32_t kAlignment = 16;
    for (const auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                                 CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                                 CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                                 CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      RINGLET_CUBLAS(cublasLtMatmulPreferenceSetAttribute(
          preference, attribute, &kAlignment, sizeof kAlignment));
    }
    cublasLtMatmulHeuristicResult_t result;
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, p.operation, p.left.handle, p.right.handle, p.result.handle,
        p.result.handle, preference, 1, &result, &found);
    cublasLtMatmulPreferenceDestroy(preference);
    RINGLET_CUBLAS(status);
    if (found == 0) {
      throw Error("cuBLASLt has no algorithm for a product of " +
                  std::to_string(key.m) + " x " + std::to_string(key.k) +
                  " and " + std::to_string(key.k) + " x " +
                  std::to_string(key.n) + ", " + name_of(key.in_dtype) +
                  " to " + name_of(key.out_dtype));
    }
    return result.algo;
  }

  cublasLtHandle_t handle_ = nullptr;
  std::map<Key, Plan> plans_;
};

}  // namespace

void matmul(const Matmul& args) {
  thread_local Library library;
  library.multiply(args);
}

}  // namespace ringlet::cuda
