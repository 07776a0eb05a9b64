# Where PyPI's packages of NVIDIA have their headers and libraries: each in a
# folder of its own below nvidia/ in the packages of the Python that is found.
# Their libraries have no name without a version, such as libnccl.so.
set(RINGLET_NVIDIA_WHEELS "")
if(NOT RINGLET_CUDA STREQUAL "OFF")
  find_program(RINGLET_PYTHON NAMES python3 python)
  if(RINGLET_PYTHON)
    execute_process(
      COMMAND ${RINGLET_PYTHON} -c
        "import glob, sys; print(';'.join(sorted(f for p in sys.path for f in glob.glob(p + '/nvidia/*'))), end='')"
      OUTPUT_VARIABLE RINGLET_NVIDIA_WHEELS ERROR_QUIET)
  endif()
endif()
