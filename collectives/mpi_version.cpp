#include "collectives/mpi_version.h"

#include <mpi.h>

namespace ringlet {

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "unknown";
  const std::string version(text, static_cast<std::size_t>(length));
  // What follows the first comma or line is who built it, and when.
  return version.substr(0, version.find_first_of(",\n"));
}

}  // namespace ringlet
