# The CUDA toolkit: nvcc compiles the kernels where it is found; its headers
# alone are enough for the tests that run the kernels under an emulator.
set(RINGLET_CUDA AUTO CACHE STRING "Compile the CUDA kernels: AUTO, ON or OFF")
set(RINGLET_NCCL AUTO CACHE STRING "NCCL backend: AUTO, ON or OFF")
set(RINGLET_CUDA_OLDEST 12.8)

include(CheckLanguage)
include(NvidiaWheels)

# Sets CMAKE_CUDA_ARCHITECTURES: those of this machine's GPUs. Without one:
# machine code for the A100's and the H100's generation, and PTX for later ones.
# The GPUs' are named in full, not "native", for the compile cache's sake.
function(choose_architectures)
  set(architectures 80-real 90)
  execute_process(
    COMMAND nvidia-smi --query-gpu=compute_cap --format=csv,noheader
    OUTPUT_VARIABLE here ERROR_QUIET RESULT_VARIABLE failed)
  execute_process(
    COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known)
  string(REGEX MATCHALL "[0-9]+\\.[0-9]" here "${here}")
  if(NOT failed AND here)
    list(REMOVE_DUPLICATES here)
    string(REPLACE "." "" here "${here}")
    foreach(gpu IN LISTS here)
      if(NOT known MATCHES "compute_${gpu}\n")
        set(failed TRUE)
      endif()
    endforeach()
    if(NOT failed)
      set(architectures ${here})
    endif()
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${architectures} PARENT_SCOPE)
endfunction()

if(NOT RINGLET_CUDA STREQUAL "OFF")
  if(NOT CUDAToolkit_ROOT AND DEFINED ENV{CUDA_HOME})
    set(CUDAToolkit_ROOT $ENV{CUDA_HOME})
  endif()
  # CMake 3.25's module sets a property of this library's target, made or not;
  # CUDA 13 has no such library.
  if(NOT TARGET CUDA::nvToolsExt)
    add_library(CUDA::nvToolsExt INTERFACE IMPORTED)
  endif()
  find_package(CUDAToolkit QUIET)
  # Else a wheel that has nvcc; its libraries are put under the names by which
  # FindCUDAToolkit looks for them.
  foreach(wheel IN LISTS RINGLET_NVIDIA_WHEELS)
    if(NOT CUDAToolkit_FOUND AND EXISTS ${wheel}/bin/nvcc)
      set(CUDAToolkit_ROOT ${wheel})
      foreach(library cudart cublasLt)
        find_library(CUDA_${library}_LIBRARY lib${library}.so.13
          PATHS ${RINGLET_NVIDIA_WHEELS} PATH_SUFFIXES lib)
      endforeach()
      set(CUDA_CUDART ${CUDA_cudart_LIBRARY})
      find_package(CUDAToolkit QUIET)
    endif()
  endforeach()
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
  # Once: what it finds stays in the cache.
  if(NOT DEFINED ENV{CUDACXX})
    set(ENV{CUDACXX} ${CUDAToolkit_NVCC_EXECUTABLE})
  endif()
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(RINGLET_NVCC ON)
  else()
    unset(CMAKE_CUDA_COMPILER CACHE)
    string(CONCAT why_not "$ENV{CUDACXX} compiles nothing with "
      "this C++ compiler (CUDAHOSTCXX chooses another one)")
  endif()
endif()

if(RINGLET_NVCC)
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    choose_architectures()
  endif()
  # Who uses it links CUDA::cudart, which has its path.
  set(CMAKE_CUDA_RUNTIME_LIBRARY None)
  enable_language(CUDA)
  # CMake 3.25.1 does not know yet that nvcc has C++20.
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  endif()
  message(STATUS "CUDA kernels: compiled by nvcc ${CUDAToolkit_VERSION} "
    "for ${CMAKE_CUDA_ARCHITECTURES}")
elseif(RINGLET_CUDA STREQUAL "ON")
  message(FATAL_ERROR "RINGLET_CUDA=ON, but ${why_not}")
else()
  message(STATUS "CUDA kernels: not compiled, ${why_not}")
endif()

# NCCL: all-reduce between GPUs.
set(RINGLET_WITH_NCCL OFF)
if(NOT RINGLET_NCCL STREQUAL "OFF")
  if(RINGLET_NVCC)
    find_package(NCCL 2.18 QUIET)
  endif()
  if(NCCL_FOUND)
    set(RINGLET_WITH_NCCL ON)
    message(STATUS "NCCL ${NCCL_VERSION}")
  elseif(RINGLET_NCCL STREQUAL "ON")
    message(FATAL_ERROR "RINGLET_NCCL=ON, but no NCCL 2.18 or newer was found, "
      "or the CUDA kernels are not compiled")
  endif()
endif()
