#pragma once

#include <filesystem>
#include <vector>

#include "bench/allreduce_perf/options.h"
#include "bench/allreduce_perf/sweep.h"

namespace ringlet {

// The sizes and back ends that --tune measures, where the command line has not
// its own. Throws Error where it asks for what no table can have.
void prepare_tuning(PerfOptions& options);

// Writes the table of algorithms that the rows speak for: MPI's own, but from
// a size on where another's time is below MPI's with its whole 95 % interval,
// the one of these with the least ratio. Rows of other numbers of ranks that
// the file has stay. Throws Error where the file cannot be read or written.
void write_table(const std::filesystem::path& file,
                 const std::vector<Row>& rows);

}  // namespace ringlet
