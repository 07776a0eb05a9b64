// Ends with 0 where there is a GPU, and with 77 and the reason where not.

#include <cuda_runtime_api.h>

#include <cstdio>

int main() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return 0;
  std::printf("skipped, no GPU: %s\n", cudaGetErrorString(status));
  constexpr int kSkipped = 77;
  return kSkipped;
}
