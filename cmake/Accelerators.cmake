# What a GPU build would need is looked for here, and used by nothing yet: the
# kernels so far are the CPU's.
set(RINGLET_CUDA AUTO CACHE STRING "CUDA backend: AUTO, ON or OFF")
set(RINGLET_NCCL AUTO CACHE STRING "NCCL backend: AUTO, ON or OFF")

foreach(accelerator CUDA NCCL)
  if(RINGLET_${accelerator} STREQUAL "ON")
    message(FATAL_ERROR "RINGLET_${accelerator}=ON: there is no ${accelerator} "
      "backend yet, expected AUTO or OFF")
  endif()
endforeach()
if(RINGLET_CUDA STREQUAL "AUTO")
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_FOUND)
    message(STATUS "CUDA Toolkit ${CUDAToolkit_VERSION} found; there is no "
      "CUDA backend yet, building for the CPU")
  endif()
endif()
