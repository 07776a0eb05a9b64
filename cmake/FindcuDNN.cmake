# cuDNN::cuDNN, version 9 or later: next to the CUDA toolkit, in the system's
# paths, where cuDNN_ROOT says, or in PyPI's packages.
find_path(cuDNN_INCLUDE_DIR cudnn_version.h HINTS ${CUDAToolkit_INCLUDE_DIRS}
  PATHS ${RINGLET_NVIDIA_WHEELS} PATH_SUFFIXES include)
find_library(cuDNN_LIBRARY NAMES cudnn libcudnn.so.9
  HINTS ${CUDAToolkit_LIBRARY_DIR}
  PATHS ${RINGLET_NVIDIA_WHEELS} PATH_SUFFIXES lib)
if(cuDNN_INCLUDE_DIR)
  file(STRINGS ${cuDNN_INCLUDE_DIR}/cudnn_version.h version_lines
       REGEX "define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  if(NOT version_lines)
    file(STRINGS ${cuDNN_INCLUDE_DIR}/cudnn_version_v9.h version_lines
         REGEX "define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  endif()
  string(REGEX MATCHALL "[0-9]+" version_numbers "${version_lines}")
  list(JOIN version_numbers "." cuDNN_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(cuDNN
  REQUIRED_VARS cuDNN_LIBRARY cuDNN_INCLUDE_DIR
  VERSION_VAR cuDNN_VERSION)
if(cuDNN_FOUND AND cuDNN_VERSION VERSION_LESS 9)
  set(cuDNN_FOUND FALSE)
endif()

if(cuDNN_FOUND AND NOT TARGET cuDNN::cuDNN)
  add_library(cuDNN::cuDNN UNKNOWN IMPORTED)
  set_target_properties(cuDNN::cuDNN PROPERTIES
    IMPORTED_LOCATION ${cuDNN_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${cuDNN_INCLUDE_DIR})
endif()
