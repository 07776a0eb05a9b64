#include "apps/restarts.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "apps/train_options.h"
#include "apps/train_setup.h"
#include "collectives/guard/watchdog.h"
#include "engine/train/checkpointer.h"
#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

using Names = std::vector<std::string_view>;

const Names kRanks{"-np", "--np", "-n", "--n", "-c"};
const Names kHostfile{"--hostfile", "-hostfile", "--machinefile",
                      "-machinefile"};
constexpr int kFirstSignal = 128 + 1, kLastSignal = 128 + 64;

bool is_among(const std::string& word, const Names& names) {
  return std::find(names.begin(), names.end(), word) != names.end();
}

// Where the value of the last such option of mpirun is; the end if nowhere.
Words::iterator value_of(Words& options, const Names& names) {
  for (auto word = options.end(); word != options.begin();) {
    --word;
    if (is_among(*word, names) && word + 1 != options.end()) return word + 1;
  }
  return options.end();
}

std::size_t ranks_in(Words& options) {
  const auto value = value_of(options, kRanks);
  const std::string text = value == options.end() ? "" : *value;
  const auto ranks = parse_number<std::size_t>(text).value_or(0);
  if (ranks < 1) {
    throw Error(fmt::format(
        "launch: -np '{}': expected the number of ranks with --max-restarts",
        text));
  }
  return ranks;
}

// By which mpirun starts its daemons, as its options or the environment say.
std::string agent_in(const Words& options) {
  std::string agent;
  for (std::size_t i = 2; i < options.size(); ++i) {
    if (options[i - 1] == "plm_rsh_agent") agent = options[i];
  }
  for (const char* name :
       {"OMPI_MCA_plm_rsh_agent", "PRTE_MCA_plm_ssh_agent"}) {
    const char* value = std::getenv(name);
    if (agent.empty() && value != nullptr) agent = value;
  }
  if (agent.empty()) return "ssh";
  return agent.substr(0, agent.find(" : "));  // the first of several
}

// The options of a command but for some, which have a value each.
Words without(const Words& words, const Names& names) {
  Words kept;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (!is_among(words[i].substr(0, equals), names)) {
      kept.push_back(words[i]);
    } else if (equals == std::string::npos) {
      ++i;
    }
  }
  return kept;
}

// As train itself reads them.
TrainOptions read_options(const Words& command) {
  Words words = command;
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  const int count = static_cast<int>(pointers.size());
  TrainOptions options;
  if (!parse_train_options(count, pointers.data(), options)) {
    throw Error("launch: --help with --max-restarts: expected a training");
  }
  if (options.resume.empty()) return options;
  options = find_resume_point(options.resume).options;
  parse_train_options(count, pointers.data(), options);
  return options;
}

std::optional<std::filesystem::file_time_type> time_of(
    const std::filesystem::path& file) {
  std::error_code missing;
  const auto time = std::filesystem::last_write_time(file, missing);
  if (missing) return std::nullopt;
  return time;
}

bool is_signal(int status) {
  return status >= kFirstSignal && status <= kLastSignal;
}

std::string reason_of(int status) {
  if (status == kHangStatus) return "a rank hung or was lost";
  if (is_signal(status)) {
    return fmt::format("a rank was ended by signal {}", status - 128);
  }
  return fmt::format("mpirun ended with status {}", status);
}

Words names_of(const std::vector<Host>& hosts) {
  Words names;
  for (const Host& host : hosts) names.push_back(host.name);
  return names;
}

// Of those asked, who did not answer.
Words missing_of(const std::vector<Host>& all, const std::vector<Host>& there) {
  Words missing;
  const Words names = names_of(there);
  for (const Host& host : all) {
    if (std::find(names.begin(), names.end(), host.name) == names.end()) {
      missing.push_back(host.name);
    }
  }
  return missing;
}

void say(const std::string& line) {
  fmt::print(stderr, "ringlet: {}\n", line);
  std::fflush(stderr);
}

}  // namespace

Restarts::Restarts(JobWords job, std::size_t most, std::size_t least_ranks)
    : job_(std::move(job)), most_(most), least_ranks_(least_ranks) {
  if (job_.command.front() != "train") {
    throw Error(
        fmt::format("launch: --max-restarts with {}: expected train, "
                    "which can go on where it was",
                    job_.command.front()));
  }
  ranks_ = ranks_in(job_.options);
  if (least_ranks_ > ranks_) {
    throw Error(
        fmt::format("launch: --min-ranks {}: expected at most the {} of -np",
                    least_ranks_, ranks_));
  }
  const auto file = value_of(job_.options, kHostfile);
  if (file != job_.options.end()) {
    hostfile_ = *file;
    hosts_ = read_hostfile(hostfile_);
  }
  agent_ = agent_in(job_.options);
  options_ = read_options(job_.command);
  options_.batch_size = global_batch(options_, ranks_);
  options_.batch_per_rank = 0;
  if (!options_.resume.empty()) {
    run_ = find_resume_point(options_.resume).run;
  } else {
    run_ = options_.out.empty() ? default_folder(options_) : options_.out;
    job_.command = without(job_.command, {"--out"});
    job_.command.insert(job_.command.end(), {"--out", run_.string()});
  }
  config_before_ = time_of(run_ / "config.json");
  model_before_ = time_of(run_ / "model.safetensors");
}

// Each start of a run writes it anew, before the first step.
bool Restarts::has_begun() const {
  return time_of(run_ / "config.json") != config_before_;
}

// The weights are the last that it writes.
bool Restarts::has_finished() const {
  const auto now = time_of(run_ / "model.safetensors");
  return now.has_value() && now != model_before_;
}

// A rank that tells of an error would do so again, unless a host was the
// reason; a launcher that has never come to start the ranks, too.
bool Restarts::is_mended_by_restart(const JobEnd& end, bool all_hosts) const {
  if (end.status == kMismatchStatus) return false;
  if (end.status == kHangStatus || is_signal(end.status)) return true;
  if (!all_hosts) return true;
  return has_begun() && !(end.status == 1 && end.said_why);
}

// The most on which the batch can be had; throws an Error that says why there
// is no such number.
std::size_t Restarts::feasible_ranks(const std::vector<Host>& hosts) const {
  std::size_t room = 0;
  for (const Host& host : hosts) room += static_cast<std::size_t>(host.slots);
  const std::string expected =
      fmt::format("expected at least --min-ranks {}", least_ranks_);
  if (room < least_ranks_) {
    throw Error(fmt::format("{}: there is room for {} on {}", expected, room,
                            fmt::join(names_of(hosts), ", ")));
  }
  std::string reason;
  for (std::size_t ranks = std::min(room, ranks_);
       ranks >= least_ranks_ && ranks > 0; --ranks) {
    try {
      global_batch(options_, ranks);
      return ranks;
    } catch (const Error& error) {
      reason = error.what();
    }
  }
  throw Error(fmt::format("{}: {}", expected, reason));
}

// Of the newest checkpoint; nothing where none was ever finished.
std::optional<std::size_t> Restarts::step_to_go_on() const {
  if (CheckpointFolder(run_ / "checkpoints").steps().empty()) {
    return std::nullopt;
  }
  return find_resume_point(run_).position.steps_done;
}

// A fault on purpose has had its time. What a checkpoint holds is not said
// again: its batch is that of all ranks.
JobWords Restarts::again(const Place& place, bool resume) const {
  JobWords next = job_;
  *value_of(next.options, kRanks) = std::to_string(place.ranks);
  if (!place.all_hosts) {
    const auto value = value_of(next.options, kHostfile);
    Words list;
    for (const Host& host : place.hosts) {
      list.push_back(fmt::format("{}:{}", host.name, host.slots));
    }
    *(value - 1) = "--host";
    *value = fmt::format("{}", fmt::join(list, ","));
  }
  next.command =
      without(next.command, {"--fault", "--batch-size", "--batch-per-rank"});
  if (resume) {
    next.command = without(
        next.command, {"--out", "--resume", "--recipe", "--init", "--weights"});
    next.command.insert(next.command.end(), {"--resume", run_.string()});
  } else if (options_.resume.empty()) {
    next.command.insert(next.command.end(),
                        {"--batch-size", std::to_string(options_.batch_size)});
  }
  return next;
}

std::optional<JobWords> Restarts::after(const JobEnd& end) {
  Place place{ranks_, answering(hosts_, agent_), true};
  const Words missing = missing_of(hosts_, place.hosts);
  place.all_hosts = missing.empty();
  if (!is_mended_by_restart(end, place.all_hosts)) return std::nullopt;
  const std::string reason =
      missing.empty()
          ? reason_of(end.status)
          : fmt::format("{}, and there is no answer from {}",
                        reason_of(end.status), fmt::join(missing, ", "));
  if (done_ == most_) {
    say(fmt::format("no restart after {} of --max-restarts {}: {}", done_,
                    most_, reason));
    return std::nullopt;
  }
  if (has_finished()) {
    say(fmt::format("no restart: {}, but {} was written before that", reason,
                    (run_ / "model.safetensors").string()));
    return std::nullopt;
  }
  std::optional<std::size_t> step;
  try {
    if (!place.all_hosts) place.ranks = feasible_ranks(place.hosts);
    ever_begun_ |= has_begun();
    step = ever_begun_ ? step_to_go_on() : std::nullopt;
    if (has_begun() && !step) {  // or it would be taken for another run
      for (const char* file : {"config.json", "metrics.jsonl"}) {
        const std::filesystem::path path = run_ / file;
        if (!std::filesystem::exists(path)) continue;
        std::filesystem::rename(path, path.string() + ".old");
      }
    }
    config_before_ = time_of(run_ / "config.json");
  } catch (const std::exception& error) {
    say(fmt::format("no restart: {}; {}", reason, error.what()));
    return std::nullopt;
  }
  ++done_;
  say(fmt::format(
      "restart {} of {}: {}; goes on {} on {} ranks{}", done_, most_, reason,
      step ? fmt::format("from step {}", *step) : "from where it began",
      place.ranks,
      hosts_.empty()
          ? ""
          : fmt::format(" of {}", fmt::join(names_of(place.hosts), ", "))));
  return again(place, step.has_value());
}

}  // namespace ringlet
