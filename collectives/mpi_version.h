#pragma once

#include <string>

namespace ringlet {

// The MPI library in use: "Open MPI v4.1.4". May be asked before MPI runs.
std::string mpi_version();

}  // namespace ringlet
