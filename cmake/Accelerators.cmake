# The CUDA toolkit: nvcc compiles the kernels where it is found; its headers
# alone are enough for the tests that run the kernels under an emulator.
set(RINGLET_CUDA AUTO CACHE STRING "Compile the CUDA kernels: AUTO, ON or OFF")
set(RINGLET_NCCL AUTO CACHE STRING "NCCL backend: AUTO, ON or OFF")
set(RINGLET_CUDA_OLDEST 12.8)

if(RINGLET_NCCL STREQUAL "ON")
  message(FATAL_ERROR "RINGLET_NCCL=ON: there is no NCCL backend yet, expected "
    "AUTO or OFF")
endif()

if(NOT RINGLET_CUDA STREQUAL "OFF")
  find_package(CUDAToolkit QUIET)
  find_package(cuDNN QUIET)
endif()

set(RINGLET_NVCC OFF)
if(RINGLET_CUDA STREQUAL "OFF")
  set(why_not "RINGLET_CUDA=OFF")
elseif(NOT CUDAToolkit_FOUND OR NOT CUDAToolkit_NVCC_EXECUTABLE)
  set(why_not "no CUDA toolkit was found")
elseif(CUDAToolkit_VERSION VERSION_LESS RINGLET_CUDA_OLDEST)
  string(CONCAT why_not "CUDA toolkit ${CUDAToolkit_VERSION} is older than "
    "${RINGLET_CUDA_OLDEST}")
elseif(NOT cuDNN_FOUND)
  set(why_not "no cuDNN 9 was found")
elseif(RINGLET_SANITIZE)
  set(why_not "sanitizers see the emulator's kernels only")
else()
  set(RINGLET_NVCC ON)
endif()

if(RINGLET_NVCC)
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  if(NOT CMAKE_CUDA_COMPILER)
    set(CMAKE_CUDA_COMPILER ${CUDAToolkit_NVCC_EXECUTABLE})
  endif()
  # Machine code for the A100's and the H100's generation, and PTX for later
  # ones.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  enable_language(CUDA)
  # CMake 3.25.1 does not know yet that nvcc has C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  endif()
  message(STATUS "CUDA kernels: compiled by nvcc ${CUDAToolkit_VERSION}")
elseif(RINGLET_CUDA STREQUAL "ON")
  message(FATAL_ERROR "RINGLET_CUDA=ON, but ${why_not}")
else()
  message(STATUS "CUDA kernels: not compiled, ${why_not}")
endif()
