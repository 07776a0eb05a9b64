#pragma once

#include <cuda_runtime_api.h>

#include <string>

// RINGLET_CUDA(call) throws an Error with the call's text, the GPU and CUDA's
// reason where it does not return cudaSuccess.
#define RINGLET_CUDA(call) \
  ::ringlet::cuda::check_status((call), #call, __FILE__, __LINE__)

namespace ringlet::cuda {

// What a library's call that failed is reported as, up to its reason.
std::string failure_of(const char* call);

void check_status(cudaError_t status, const char* call, const char* file,
                  int line);

}  // namespace ringlet::cuda
