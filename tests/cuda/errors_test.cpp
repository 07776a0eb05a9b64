#include "kernels/cuda/context.h"
#include "kernels/runtime/cuda_library.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"

using namespace ringlet;

TEST_CASE("a call of CUDA that fails is named, with its GPU") {
  CHECK_THROWS_WITH(cuda::library().open_memory(cuda::IpcHandle{}),
                    ContainsSubstring("cudaIpcOpenMemHandle(") &&
                        ContainsSubstring("failed on GPU 0: "));
}

TEST_CASE("no memory for partial results says how much is needed and free") {
  constexpr std::size_t kPebibyte = std::size_t{1} << 50;
  CHECK_THROWS_AS(cuda::scratch(kPebibyte), OutOfMemoryError);
  CHECK_THROWS_WITH(cuda::scratch(kPebibyte),
                    ContainsSubstring("kernels need 1073741824 MiB more"));
}
