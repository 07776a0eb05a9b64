# What `cmake --install build/release --prefix PREFIX` installs: the programs, and
# a package for find_package(Ringlet). Everything is found from where the program
# or the package lies, so that PREFIX can be moved afterwards.
include(CMakePackageConfigHelpers)

install(TARGETS ringlet allreduce_perf RUNTIME DESTINATION bin)
install(DIRECTORY recipes DESTINATION share/ringlet)
install(FILES LICENSE DESTINATION share/doc/ringlet)

# Ringlet::kernels and so on, a target per folder, and Ringlet::ringlet, which has
# all of them. Static: the linker takes what a program uses.
add_library(ringlet_all INTERFACE)
target_link_libraries(ringlet_all INTERFACE ringlet_models)
set_target_properties(ringlet_all PROPERTIES EXPORT_NAME ringlet)
set(libraries ringlet_all)
foreach(folder kernels collectives engine models)
  set_target_properties(ringlet_${folder} PROPERTIES EXPORT_NAME ${folder})
  list(APPEND libraries ringlet_${folder})
endforeach()
install(TARGETS ${libraries} EXPORT RingletTargets
  ARCHIVE DESTINATION lib
  INCLUDES DESTINATION include/ringlet)

# Only public headers: of MPI and CUDA users need to see nothing.
install(DIRECTORY kernels collectives engine models
  DESTINATION include/ringlet
  FILES_MATCHING PATTERN "*.h"
  PATTERN "kernels/cpu" EXCLUDE
  PATTERN "kernels/cuda" EXCLUDE
  PATTERN "mpi_world.h" EXCLUDE)

# Loaded when somebody asks for a GPU, by our programs and by those of users, from
# where they look for libraries.
foreach(plugin ringlet_cuda ringlet_nccl)
  if(TARGET ${plugin})
    install(TARGETS ${plugin} LIBRARY DESTINATION lib)
    target_link_options(ringlet_kernels INTERFACE
      $<INSTALL_INTERFACE:LINKER:-rpath,$<INSTALL_PREFIX>/lib>)
  endif()
endforeach()

set(package lib/cmake/Ringlet)
install(EXPORT RingletTargets NAMESPACE Ringlet:: DESTINATION ${package})
# Before 1.0 a new minor version may change the interface.
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/RingletConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES cmake/RingletConfig.cmake cmake/FindoneDNN.cmake
  cmake/FindTurboJPEG.cmake
  ${PROJECT_BINARY_DIR}/RingletConfigVersion.cmake
  DESTINATION ${package})
