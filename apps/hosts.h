#pragma once

#include <string>
#include <vector>

// The hosts of a job, as `ringlet launch --max-restarts` sees them.
namespace ringlet {

struct Host {
  std::string name;
  int slots = 0;  // ranks it is to have, at most
};

// Open MPI's hostfile: "NAME slots=N" in each line, and comments after '#'.
// Throws an Error that names file, line and what was expected; also for what
// Open MPI takes and this does not: a host without slots, or twice.
std::vector<Host> read_hostfile(const std::string& path);

// Those on which AGENT ("ssh", with options if need be) can start `true`, in
// the order given, and this machine in any case, whatever it is called there.
// All are asked at once and have ten seconds to answer.
std::vector<Host> answering(const std::vector<Host>& hosts,
                            const std::string& agent);

}  // namespace ringlet
