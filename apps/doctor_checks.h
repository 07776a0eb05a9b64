#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/child.h"
#include "apps/finding.h"
#include "kernels/runtime/threads.h"

// What `ringlet doctor` makes of a machine: pure functions of facts that
// somebody else (doctor_facts.h, or a test) has gathered.
namespace ringlet {

struct ProcessorFacts {
  std::string model;
  InstructionSet has, built_for;
};
Finding judge_processor(const ProcessorFacts& facts);

struct CoreFacts {
  int ranks = 1;             // that somebody wants to start
  int processors = 1;        // that this process may run on
  int cores = 1;             // that these belong to: fewer, with hyperthreads
  double quota = 0;          // processors' time that a cgroup allows; 0: all
  std::string threads = {};  // OMP_NUM_THREADS; empty: not set
};
// What a rank will take.
int threads_of_rank(const CoreFacts& facts);
Finding judge_cores(const CoreFacts& facts);
Finding judge_slots(const CoreFacts& facts);
Finding judge_threads(const CoreFacts& facts);
// What fixes of these, of judge_cma() too, would have a user set: to be put
// before a command. "OMP_NUM_THREADS=2 "; empty where there is nothing.
std::string settings_of(const std::vector<Finding>& findings,
                        const CoreFacts& facts);

struct RootFacts {
  bool root, allowed;  // by OMPI_ALLOW_RUN_AS_ROOT and its twin
};
Finding judge_root(const RootFacts& facts);

using Environment = std::map<std::string, std::string>;
// Those that change how Ringlet, MPI or the libraries run.
bool matters(const std::string& variable);
Finding judge_environment(const Environment& environment);

// Between two processes of one user: errno of each way, 0 where it works.
struct MemoryFacts {
  int make_error = 0;  // of an anonymous file
  int open_error = 0;  // of another process's file, through /proc
  int read_error = 0;  // process_vm_readv, which Open MPI's messages take
  std::string ptrace_scope = {};   // of Yama; empty: there is none
  bool cma_off = false;            // Open MPI was told not to take it
  std::uint64_t dev_shm_free = 0;  // bytes
  std::string huge_pages = {};     // "always [madvise] never"
  std::uint64_t largest_file = 0;  // RLIMIT_FSIZE, which counts there too
  int ranks = 1;
};
Finding judge_shared_memory(const MemoryFacts& facts);
Finding judge_cma(const MemoryFacts& facts);
Finding judge_dev_shm(const MemoryFacts& facts);
Finding judge_huge_pages(const MemoryFacts& facts);
Finding judge_file_size(const MemoryFacts& facts);

struct MpiFacts {
  std::string linked;  // "Open MPI v4.1.4"
  Child version;       // mpirun --version
};
Finding judge_mpi(const MpiFacts& facts);

// A job of two ranks, each of which prints "cores N", and for each back end
// "ok NAME", or "bad NAME: why" where its sum was wrong or it could not be had.
struct JobFacts {
  Child job;
  int ranks = 2;
  std::vector<std::string> back_ends;  // that had to be tried
  int threads = 1;                     // that a rank will take
};
Finding judge_job(const JobFacts& facts);
Finding judge_binding(const JobFacts& facts);

struct NetworkFacts {
  std::string hostname;
  std::string why_no_loopback = {};  // empty: one can connect to 127.0.0.1
  std::string why_no_address = {};   // of this host's name; empty: it has one
  std::vector<std::string> interfaces = {};  // that are up, but for lo
};
Finding judge_network(const NetworkFacts& facts);

struct DiskFacts {
  std::string folder;
  std::string error;  // of what a checkpoint does there; empty: it works
  std::uint64_t free = 0;
};
Finding judge_disk(const DiskFacts& facts);

struct GpuFacts {
  bool driver = false;                      // its device files are there
  std::optional<std::string> visible = {};  // CUDA_VISIBLE_DEVICES
  std::string why_none = {};                // empty where one can be used
  std::string name = {};                    // with the versions of all below it
  int count = 0;
  std::string nccl = {};  // its version; empty: none
  int ranks = 1;
};
Finding judge_gpu(const GpuFacts& facts);

}  // namespace ringlet
