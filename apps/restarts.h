#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/hosts.h"
#include "engine/train/options.h"

namespace ringlet {

using Words = std::vector<std::string>;  // of a command line

// A job as `ringlet launch` starts it: mpirun OPTIONS ringlet COMMAND.
struct JobWords {
  Words options;  // of mpirun
  Words command;
};

// How a job ended.
struct JobEnd {
  int status = 0;
  bool said_why = false;  // a rank told of an error
};

// What `ringlet launch --max-restarts` adds to a training: where it ends badly
// it goes on in its run's folder, from the newest checkpoint or from the start,
// with the same batch, and on the hosts that still answer.
//
//   Restarts restarts(job, 3, 1);
//   for (auto next = std::optional(restarts.job()); next;) {
//     const JobEnd end = start(*next);
//     if (end.status == 0) break;
//     next = restarts.after(end);
//   }
class Restarts {
 public:
  // Throws an Error that names the option and what was expected: where the
  // command is not train, or its options, the hostfile or the number of ranks
  // cannot be.
  Restarts(JobWords job, std::size_t most, std::size_t least_ranks);

  // As it is started first: with --out, if it has none.
  const JobWords& job() const { return job_; }

  // What to start after that end, if anything. Says so in one line on stderr:
  // which restart, why, from which step, on how many ranks and which hosts; or
  // why there is none. Cost: reads the newest checkpoint; asks all hosts, which
  // takes up to ten seconds where one does not answer.
  std::optional<JobWords> after(const JobEnd& end);

 private:
  struct Place {  // where to go on
    std::size_t ranks;
    std::vector<Host> hosts;
    bool all_hosts;
  };

  // Since the last start, or the first one.
  bool has_begun() const;
  bool has_finished() const;
  bool is_mended_by_restart(const JobEnd& end, bool all_hosts) const;
  std::size_t feasible_ranks(const std::vector<Host>& hosts) const;
  std::optional<std::size_t> step_to_go_on() const;
  JobWords again(const Place& place, bool resume) const;

  JobWords job_;
  std::size_t most_, least_ranks_, done_ = 0, ranks_ = 0;
  std::string hostfile_, agent_;
  std::vector<Host> hosts_;  // of the hostfile, if there is one
  TrainOptions options_;     // with the batch of all ranks
  std::filesystem::path run_;
  // Of files of the run before it was started.
  std::optional<std::filesystem::file_time_type> config_before_, model_before_;
  bool ever_begun_ = false;
};

}  // namespace ringlet
