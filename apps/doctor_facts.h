#pragma once

#include <filesystem>

#include "apps/doctor_checks.h"

// Asks the machine for what doctor_checks.h judges. What may hang (a name
// server, a dead disk, a driver, mpirun) is asked by a child with a time limit.
// `ranks` are those that somebody wants to start.
namespace ringlet {

ProcessorFacts processor_facts();
CoreFacts core_facts(int ranks);
RootFacts root_facts();
Environment environment_facts();
MemoryFacts memory_facts(int ranks);
NetworkFacts network_facts();
// Of the nearest folder on the way to `folder` that is there.
DiskFacts disk_facts(const std::filesystem::path& folder);
GpuFacts gpu_facts(int ranks);
MpiFacts mpi_facts();

// Lets mpirun start two ranks, with the settings of `ringlet launch`: each is
// `command` of this program.
JobFacts job_facts(const std::vector<std::string>& command, int threads);
// What each of them does: tries each back end, and prints for judge_job().
// `fault`: see CommunicatorOptions, for the first of them.
void be_rank_of_job(const std::string& fault);

}  // namespace ringlet
