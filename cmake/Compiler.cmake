# Warnings, instruction set, sanitizers and the compile cache, for every target.

add_library(ringlet_options INTERFACE)
target_include_directories(ringlet_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(ringlet_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Werror
  # Vectors wider than the target's registers are passed between our own
  # functions only, so their calling convention does not matter.
  -Wno-psabi)
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(ringlet_options INTERFACE _GLIBCXX_ASSERTIONS)
endif()

# An x86-64 level is named in full instead of -march=native: a compile cache
# that travels between machines then never serves code that the other cannot
# run, and the program can check its processor at start (kernels/runtime/threads.h).
if(RINGLET_MARCH STREQUAL "AUTO" AND
   CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  execute_process(
    COMMAND ${CMAKE_CXX_COMPILER} -march=native -dM -E -x c++ /dev/null
    OUTPUT_VARIABLE native_macros)
  if(native_macros MATCHES "__AVX512F__" AND native_macros MATCHES
     "__AVX512VL__" AND native_macros MATCHES "__AVX512DQ__" AND
     native_macros MATCHES "__AVX512BW__" AND native_macros MATCHES
     "__AVX512CD__")
    set(march x86-64-v4)
  elseif(native_macros MATCHES "__AVX2__" AND native_macros MATCHES "__FMA__")
    set(march x86-64-v3)
  else()
    set(march x86-64-v2)
  endif()
elseif(RINGLET_MARCH STREQUAL "AUTO")
  set(march native)
else()
  set(march ${RINGLET_MARCH})
endif()
message(STATUS "Instruction set: ${march}")
target_compile_options(ringlet_options INTERFACE -march=${march})
if(march STREQUAL "x86-64-v4")
  target_compile_options(ringlet_options INTERFACE -mprefer-vector-width=512)
endif()

if(RINGLET_SANITIZE)
  add_compile_options(-fsanitize=${RINGLET_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all -O1)
  add_link_options(-fsanitize=${RINGLET_SANITIZE})
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
