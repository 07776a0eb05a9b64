#include "apps/doctor_checks.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "apps/mpirun.h"
#include "kernels/runtime/error.h"
#include "support/catch.h"
#include "support/files.h"

namespace ringlet {
namespace {

constexpr std::uint64_t kMebi = 1 << 20;

void check(const Finding& finding, State state, const std::string& detail,
           const std::string& fix = "") {
  INFO(finding.detail << " / " << finding.fix);
  CHECK(finding.state == state);
  CHECK_THAT(finding.detail, ContainsSubstring(detail));
  CHECK_THAT(finding.fix, ContainsSubstring(fix));
  CHECK(finding.fix.empty() == (state == State::kOk));
}

Child said(const std::string& output, int status = 0) {
  Child child;
  child.output += output;
  child.status = status;
  return child;
}

TEST_CASE("A program built for less than its processor has is to be rebuilt") {
  using enum InstructionSet;
  check(judge_processor({"a processor", kAvx512, kAvx512}), State::kOk,
        "a processor, built for x86-64-v4");
  check(judge_processor({"a processor", kAvx512, kAvx2}), State::kWarn,
        "built for x86-64-v3 (AVX2), but it is x86-64-v4", "build it on this");
}

TEST_CASE("A cgroup's quota below the processors asks for fewer threads") {
  CoreFacts facts{.ranks = 2, .processors = 16, .cores = 8};
  check(judge_cores(facts), State::kOk, "16 processors on 8 cores");
  facts.quota = 16;
  check(judge_cores(facts), State::kOk, "16 processors");
  facts.quota = 4.5;
  check(judge_cores(facts), State::kWarn, "allows the time of 4.5",
        "OMP_NUM_THREADS=2");
  facts.threads = std::string("2");
  check(judge_cores(facts), State::kOk, "4.5");
  facts.quota = 0.5;
  check(judge_cores(facts), State::kWarn, "0.5", "OMP_NUM_THREADS=1");
}

TEST_CASE("More ranks than cores share them, or take turns") {
  check(judge_slots({.ranks = 4, .processors = 8, .cores = 4}), State::kOk,
        "4 ranks on 4 cores");
  check(judge_slots({.ranks = 5, .processors = 8, .cores = 4}), State::kWarn,
        "share them", "fewer ranks");
  check(judge_slots({.ranks = 9, .processors = 8, .cores = 4}), State::kWarn,
        "take turns", "fewer ranks");
}

TEST_CASE("Threads of all ranks have to fit on the processors") {
  CoreFacts facts{.ranks = 2, .processors = 8, .cores = 4};
  CHECK(threads_of_rank(facts) == 4);
  check(judge_threads(facts), State::kOk, "4 threads for each of 2 ranks");
  for (const std::string fits : {"4", "1,8"}) {
    facts.threads = fits;
    check(judge_threads(facts), State::kOk, "for each of 2 ranks");
  }
  facts.threads = std::string("5");
  check(judge_threads(facts), State::kWarn, "OMP_NUM_THREADS=5", "set it to 4");
  for (const std::string wrong : {"x", "0", "-1", "3x"}) {
    facts.threads = wrong;
    check(judge_threads(facts), State::kWarn, "expected a number above 0");
    CHECK(threads_of_rank(facts) == 4);
  }
}

TEST_CASE("Lines to start with have what the fixes set, and these agree") {
  CoreFacts facts{.ranks = 2, .processors = 16, .cores = 8};
  const auto settings = [&](int read_error) {
    return settings_of({judge_cores(facts), judge_threads(facts),
                        judge_cma({.read_error = read_error})},
                       facts);
  };
  CHECK(settings(0).empty());
  CHECK(settings(EPERM) == "OMPI_MCA_btl_vader_single_copy_mechanism=none ");
  facts.threads = std::string("64");
  CHECK(settings(0) == "OMP_NUM_THREADS=8 ");
  facts.quota = 2;
  check(judge_cores(facts), State::kWarn, "the time of 2.0",
        "OMP_NUM_THREADS=1,");
  check(judge_threads(facts), State::kWarn, "OMP_NUM_THREADS=64",
        "set OMP_NUM_THREADS to 1");
  CHECK_THAT(settings(EPERM), StartsWith("OMP_NUM_THREADS=1 OMPI_MCA_btl"));
  facts.threads = std::string("");
  CHECK(settings(0) == "OMP_NUM_THREADS=1 ");
}

TEST_CASE("Variables that pin threads or slow memory are to be unset") {
  check(judge_environment({}), State::kOk, "nothing set");
  check(judge_environment({{"OMP_PROC_BIND", "FALSE"}, {"NCCL_ALGO", "Ring"}}),
        State::kOk, "in effect: NCCL_ALGO=Ring OMP_PROC_BIND=FALSE");
  check(judge_environment({{"OMP_PROC_BIND", "close"},
                           {"MALLOC_PERTURB_", "7"},
                           {"NCCL_ALGO", "Ring"}}),
        State::kWarn,
        "MALLOC_PERTURB_=7 makes memory slow, OMP_PROC_BIND=close ties",
        "unset MALLOC_PERTURB_ OMP_PROC_BIND");
  CHECK(matters("OMPI_MCA_btl"));
  CHECK_FALSE(matters("AWS_SECRET_ACCESS_KEY"));
}

TEST_CASE("What keeps processes from each other's memory is named") {
  MemoryFacts facts;
  facts.largest_file = facts.dev_shm_free = ~std::uint64_t{0};
  check(judge_shared_memory(facts), State::kOk, "map each other's");
  check(judge_cma(facts), State::kOk, "process_vm_readv");
  facts.open_error = EACCES;
  check(judge_shared_memory(facts), State::kWarn,
        "another process's files: Permission denied", "SYS_PTRACE");
  facts.read_error = EPERM;
  check(judge_cma(facts), State::kWarn, "Operation not permitted",
        "--cap-add=SYS_PTRACE");
  facts.ptrace_scope = std::string("2");
  check(judge_cma(facts), State::kWarn, "Yama's ptrace_scope is 2",
        "kernel.yama.ptrace_scope=0");
}

TEST_CASE("Huge pages, /dev/shm and the limit of files are judged by need") {
  MemoryFacts facts;
  facts.huge_pages = std::string("always [madvise] never");
  check(judge_huge_pages(facts), State::kOk, "madvise");
  for (const std::string none : {"always madvise [never]", ""}) {
    facts.huge_pages = none;
    check(judge_huge_pages(facts), State::kWarn, "no transparent ones",
          "transparent_hugepage/enabled");
  }
  facts.ranks = 8;
  facts.dev_shm_free = 64 * kMebi;
  check(judge_dev_shm(facts), State::kOk, "64 MiB free");
  facts.ranks = 9;
  check(judge_dev_shm(facts), State::kWarn, "64 MiB free", "shm-size=144m");
}

TEST_CASE("A GPU that is there but not used is said, and why") {
  GpuFacts facts{.why_none = "built without CUDA"};
  check(judge_gpu(facts), State::kOk, "none, the CPU computes");
  facts.driver = true;
  check(judge_gpu(facts), State::kWarn, "not used: built without CUDA",
        "nvidia-smi");
  facts.visible = std::string("7");
  check(judge_gpu(facts), State::kWarn, "(CUDA_VISIBLE_DEVICES='7')");
  for (const std::string hides : {"", "-1"}) {
    facts.visible = hides;
    check(judge_gpu(facts), State::kWarn, "hidden by CUDA_VISIBLE_DEVICES",
          "unset CUDA_VISIBLE_DEVICES");
  }
}

TEST_CASE("Ranks share GPUs, or have one each and NCCL") {
  GpuFacts facts{.driver = true,
                 .name = "NVIDIA H200, driver 13.0",
                 .count = 2,
                 .nccl = "NCCL 2.28.9",
                 .ranks = 2};
  check(judge_gpu(facts), State::kOk, "2 GPUs: NVIDIA H200, driver 13.0, NCCL");
  CHECK_THAT(judge_gpu(facts).detail, ContainsSubstring("CUDA-aware"));
  facts.nccl = std::string("");
  check(judge_gpu(facts), State::kWarn, "no NCCL", "--comm ring");
  facts.ranks = 3;
  check(judge_gpu(facts), State::kWarn, "take turns", "-np 2");
}

TEST_CASE("The linked MPI and the mpirun in PATH have to be one") {
  const auto judge = [](const char* linked, const char* version) {
    return judge_mpi({linked, said(version)});
  };
  check(judge("Open MPI v5.0.3", "mpirun (Open MPI) 5.0.3"), State::kOk,
        "5.0.3 in PATH");
  check(judge("MPICH Version: 4.0.2", "HYDRA build details:\n Version: 4.0.2"),
        State::kOk, "4.0.2");
  check(judge("Open MPI v5.0.3", "mpirun (Open MPI) 4.1.4"), State::kWarn,
        "4.1.4 in PATH, Open MPI v5.0.3 linked", "openmpi-bin");
  check(judge("MPICH Version: 4.0.2", "mpirun (Open MPI) 4.0.2"), State::kError,
        "Open MPI's, MPICH Version");
  check(judge("Open MPI v4.1.4", "what?"), State::kError, "another MPI's");
}

TEST_CASE("A job is fine where each back end was, on each rank") {
  JobFacts facts{.job = said("cores 4\ncores 2\nok auto\nok shared\n"),
                 .back_ends = {"auto", "shared"},
                 .threads = 2};
  check(judge_job(facts), State::kOk, "auto, shared");
  check(judge_binding(facts), State::kOk, "2 processors for its 2 threads");
  facts.threads = 3;
  check(judge_binding(facts), State::kWarn, "2 processors for its 3 threads",
        "--bind-to none");

  facts.job = said("ok auto\n");  // and then nothing
  check(judge_job(facts), State::kError, "2 ranks by mpirun");
  facts.job = said("ok auto\nok shared\nbad shared: wrong sum: 1\n");
  check(judge_job(facts), State::kError, "shared: wrong sum");
  // What auto does without.
  facts.job = said("ok auto\nbad shared: rank 1 gets no 64 bytes\n");
  check(judge_job(facts), State::kWarn, "rank 1 gets no 64 bytes");
  facts.job = said("ok auto\nok shared\n", 137);
  check(judge_job(facts), State::kError, "by mpirun");
  facts.job = said("----\n[vm:1] log\n----\nno slots\n", 1);
  check(judge_job(facts), State::kError, "2 ranks by mpirun: no slots");
  facts.job = said("noise\nringlet: hang: rank 0\n", 86);
  check(judge_job(facts), State::kError, "2 ranks by mpirun: hang: rank 0");
  check(judge_binding(facts), State::kWarn, "not known", "see job");
  facts.job = said("ok auto\n");
  facts.job.timed_out = true;
  check(judge_job(facts), State::kError, "last was auto");
}

TEST_CASE("A child's output and end are known, whatever they are") {
  const Child fine = run_child(10, [] { (void)!::write(1, "text", 4); });
  CHECK(fine.succeeded());
  CHECK(fine.output == "text");
  const Child thrown = run_child(10, [] { throw Error("a reason"); });
  CHECK(thrown.status == 1);
  CHECK(thrown.output == "a reason");
  CHECK(run_child(10, [] { std::abort(); }).status == 128 + 6);
  CHECK(run_child(10, [] { become({"/no/such/program"}); }).status == 127);
}

TEST_CASE("A child that takes too long is ended, with its own children") {
  int held[2];
  REQUIRE(::pipe(held) == 0);  // open as long as one of them lives
  const Child child = run_child(3, [] {
    become({"sh", "-c", "echo begun; sleep 1000 & sleep 1000"});
  });
  ::close(held[1]);
  CHECK(child.timed_out);
  CHECK(child.output == "begun\n");
  CHECK(child.seconds < 30);
  pollfd end{held[0], POLLIN, 0};
  CHECK(::poll(&end, 1, 5000) == 1);
  ::close(held[0]);
}

TEST_CASE("A child that takes too long may tidy up") {
  const testing::TemporaryFolder folder;
  const Child child = run_child(1, [&] {
    std::filesystem::current_path(folder.path());
    become({"sh", "-c", "trap 'touch tidied; exit' TERM; sleep 1000"});
  });
  CHECK(child.timed_out);
  CHECK(std::filesystem::exists(folder.path() / "tidied"));
}

TEST_CASE("A child that has closed its output is ended too") {
  const Child child = run_child(0.2, [] {
    become({"sh", "-c", "exec >&- 2>&-; sleep 1000"});
  });
  CHECK(child.timed_out);
  CHECK(child.seconds < 5);
}

TEST_CASE("A shell takes the line as it was meant") {
  const std::string line =
      mpirun_line({"printf", "<%s>", "it's", "$HOME", "a b", ""});
  const Child shell = run_child(10, [&] { become({"sh", "-c", line}); });
  CHECK(shell.output == "<it's><$HOME><a b><>");
}

}  // namespace
}  // namespace ringlet
