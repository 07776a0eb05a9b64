#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/cli.h"
#include "apps/commands.h"
#include "apps/doctor_facts.h"
#include "apps/mpirun.h"
#include "collectives/mpi_scope.h"
#include "engine/parallel/agreement.h"

namespace ringlet {
namespace {

struct Options {
  int ranks = 2;
  std::string out = "runs";
  bool json = false;
  bool rank = false;  // be one of the job that it starts itself
  std::string fault;
};

struct Report {
  std::vector<Finding> findings;
  std::string launch, mpirun;  // lines to start ranks with
};

// mpirun before the job, which would wait for one that hangs, or would be
// several for one of another MPI.
void examine_mpi(int threads, std::vector<Finding>& findings) {
  findings.push_back(judge_mpi(mpi_facts()));
  if (findings.back().state == State::kError) return;
  const JobFacts job = job_facts({"doctor", "--rank"}, threads);
  findings.push_back(judge_job(job));
  findings.push_back(judge_binding(job));
}

Report examine(const Options& options) {
  const CoreFacts cores = core_facts(options.ranks);
  const MemoryFacts memory = memory_facts(options.ranks);
  std::vector<Finding> findings{judge_processor(processor_facts()),
                                judge_cores(cores),
                                judge_slots(cores),
                                judge_threads(cores),
                                judge_root(root_facts()),
                                judge_environment(environment_facts()),
                                judge_shared_memory(memory),
                                judge_cma(memory),
                                judge_dev_shm(memory),
                                judge_huge_pages(memory),
                                judge_file_size(memory),
                                judge_disk(disk_facts(options.out)),
                                judge_network(network_facts())};
  examine_mpi(threads_of_rank(cores), findings);
  findings.push_back(judge_gpu(gpu_facts(options.ranks)));
  const std::string settings = settings_of(findings, cores);
  const std::string ranks = std::to_string(options.ranks);
  return {findings,
          settings +
              shell_line({own_path(), "launch", "-np", ranks, "--", "train"}),
          settings + mpirun_line(mpirun_words({"-np", ranks}, {"train"}))};
}

int count_of(const std::vector<Finding>& findings, State state) {
  return static_cast<int>(
      std::count_if(findings.begin(), findings.end(),
                    [=](const Finding& f) { return f.state == state; }));
}

void print_text(const Options& options, const Report& report) {
  for (const Finding& finding : report.findings) {
    fmt::print("{:<6}{:<15}{}\n", name_of(finding.state), finding.what,
               finding.detail);
    if (!finding.fix.empty()) fmt::print("{:21}fix: {}\n", "", finding.fix);
  }
  fmt::print(
      "\n{}, {}. To train on {}, with training's options behind it:\n\n"
      "  {}\n\nor, by mpirun itself:\n\n  {}\n",
      count(count_of(report.findings, State::kError), "error"),
      count(count_of(report.findings, State::kWarn), "warning"),
      count(options.ranks, "rank"), report.launch, report.mpirun);
}

void print_json(const Report& report) {
  nlohmann::ordered_json document{{"findings", nlohmann::ordered_json::array()},
                                  {"launch", report.launch},
                                  {"mpirun", report.mpirun}};
  for (const Finding& finding : report.findings) {
    document["findings"].push_back({{"what", finding.what},
                                    {"state", name_of(finding.state)},
                                    {"detail", finding.detail},
                                    {"fix", finding.fix}});
  }
  // What other programs have printed need not be UTF-8.
  using Json = nlohmann::ordered_json;
  fmt::print("{}\n",
             document.dump(1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

int doctor_command(int argc, char** argv) {
  Options o;
  CLI::App app(
      "Looks at this machine, lets mpirun start two ranks, and says what is "
      "right,\nwhat is not, how to mend it, and how to start ranks here. "
      "Status 0 where all\nwill work, with warnings too; 1 where something "
      "will not.",
      "ringlet doctor");
  app.option_defaults()->always_capture_default();
  app.add_option("--np", o.ranks, "How many ranks are to be started")
      ->check(whole_number(1, 4096));
  app.add_option("--out", o.out, "Where runs are to be kept");
  app.add_flag("--json", o.json, "As JSON");
  app.add_flag("--rank", o.rank)->group("");
  app.add_option("--fault", o.fault)->group("");
  if (!parse_or_help(app, argc, argv)) return 0;
  if (o.rank) {
    be_rank_of_job(o.fault);
    return 0;
  }
  if (const LaunchInfo self = launch_info(); self.size > 1) {
    throw SharedError(fmt::format(
        "doctor under {}: expected to be started alone; it starts ranks itself",
        self.launcher));
  }
  const Report report = examine(o);
  o.json ? print_json(report) : print_text(o, report);
  return count_of(report.findings, State::kError) > 0 ? 1 : 0;
}

}  // namespace ringlet
