# For find_package(Ringlet): Ringlet::ringlet, and what it is made of.
include(CMakeFindDependencyMacro)

# FindMPI finds C's MPI, which is all that Ringlet uses, where there is C.
enable_language(C)
find_dependency(MPI COMPONENTS C)
find_dependency(OpenMP COMPONENTS CXX)
find_dependency(Threads)
find_dependency(OpenSSL COMPONENTS Crypto)
find_dependency(fmt)
find_dependency(nlohmann_json)
find_dependency(PNG)
list(PREPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR})
find_dependency(oneDNN)
find_dependency(TurboJPEG)
list(POP_FRONT CMAKE_MODULE_PATH)

include(${CMAKE_CURRENT_LIST_DIR}/RingletTargets.cmake)
