#include "collectives/launch.h"

#include <map>
#include <string>

#include "collectives/backoff.h"
#include "support/catch.h"

namespace ringlet {
namespace {

LaunchInfo launched_with(const std::map<std::string, std::string>& variables) {
  return launch_info_from([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST_CASE("without a launcher there is one rank") {
  CHECK(launched_with({}) == LaunchInfo{});
  // What a Slurm batch script sees, outside of srun.
  CHECK(launched_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}) ==
        LaunchInfo{});
}

TEST_CASE("each launcher's variables are understood") {
  CHECK(launched_with({{"OMPI_COMM_WORLD_RANK", "5"},
                       {"OMPI_COMM_WORLD_SIZE", "8"},
                       {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                       {"SLURM_PROCID", "0"},
                       {"SLURM_STEP_NUM_TASKS", "2"}}) ==
        LaunchInfo{.rank = 5,
                   .size = 8,
                   .local_rank = 1,
                   .local_size = 4,
                   .launcher = "Open MPI"});
  CHECK(launched_with({{"PMI_RANK", "2"},
                       {"PMI_SIZE", "3"},
                       {"MPI_LOCALRANKID", "0"},
                       {"MPI_LOCALNRANKS", "1"}}) ==
        LaunchInfo{.rank = 2, .size = 3, .launcher = "PMI"});
  CHECK(launched_with({{"SLURM_PROCID", "2"}, {"SLURM_STEP_NUM_TASKS", "3"}}) ==
        LaunchInfo{.rank = 2, .size = 3, .launcher = "Slurm"});
}

TEST_CASE("where a Slurm step has its ranks") {
  const auto local_on = [](const char* tasks, const char* node,
                           const char* local) {
    const LaunchInfo info = launched_with({{"SLURM_PROCID", "2"},
                                           {"SLURM_STEP_NUM_TASKS", "9"},
                                           {"SLURM_STEP_TASKS_PER_NODE", tasks},
                                           {"SLURM_NODEID", node},
                                           {"SLURM_LOCALID", local}});
    return std::pair(info.local_rank, info.local_size);
  };
  CHECK(local_on("2(x4),1", "0", "1") == std::pair(1, 2));
  CHECK(local_on("2(x4),1", "3", "0") == std::pair(0, 2));
  CHECK(local_on("2(x4),1", "4", "0") == std::pair(0, 1));
  CHECK(local_on("9", "0", "8") == std::pair(8, 9));
  CHECK(local_on("3,3(x2)", "2", "2") == std::pair(2, 3));
  // What says nothing of this node.
  CHECK(local_on("3,3", "2", "0") == std::pair(0, 1));
  CHECK(local_on("", "0", "0") == std::pair(0, 1));
  CHECK_THROWS_WITH(local_on("2(x4),1", "4", "1"),
                    ContainsSubstring("SLURM_LOCALID is '1', expected a number "
                                      "from 0 to 0"));
}

TEST_CASE("a variable that makes no sense is named") {
  const auto with = [](const char* rank, const char* size) {
    return launched_with(
        {{"OMPI_COMM_WORLD_RANK", rank}, {"OMPI_COMM_WORLD_SIZE", size}});
  };
  CHECK_THROWS_WITH(
      with("4", "4"),
      "environment variable OMPI_COMM_WORLD_RANK is '4', expected "
      "a number from 0 to 3");
  CHECK_THROWS_WITH(with("0", "many"),
                    ContainsSubstring("OMPI_COMM_WORLD_SIZE is 'many'"));
  CHECK_THROWS_WITH(with("1x", "4"), ContainsSubstring("RANK is '1x'"));
  CHECK_THROWS_WITH(with("", "4"), ContainsSubstring("RANK is ''"));
  CHECK_THROWS_WITH(with("0", "0"), ContainsSubstring("SIZE is '0'"));
}

TEST_CASE("who shares cores spins less") {
  CHECK(spin_budget(2, 1, 2) == spin_budget(1, 4, 8));
  CHECK(spin_budget(2, 2, 2) < spin_budget(2, 1, 2));
  CHECK(spin_budget(3, 1, 2) == spin_budget(2, 2, 2));
}

}  // namespace
}  // namespace ringlet
