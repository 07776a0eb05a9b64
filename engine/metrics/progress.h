#pragma once

#include <cstddef>
#include <deque>
#include <ostream>
#include <string>

namespace ringlet {

// Columns of the terminal on standard output: RINGLET_TERMINAL where it is set
// (mpirun stands between its ranks and the terminal, so whoever starts it
// passes the width on), else the terminal's own size; 0 where there is none.
// Throws an Error where RINGLET_TERMINAL is not a number of columns.
int terminal_columns();

// "45s", "3m02s", "1h05m".
std::string format_duration(double seconds);

// One step, as the training loop knows it.
struct StepReport {
  std::size_t step = 0;   // counted from 1 over the whole run
  std::size_t epoch = 0;  // counted from 1
  double loss = 0;
  double images = 0;   // over all ranks
  double seconds = 0;  // wall-clock time of the step
};

// Shows how a run of `total_steps` goes on. On a terminal it redraws one line
// after each step; elsewhere (columns = 0) it prints a line every `log_every`
// steps and after the last. Loss, speed and time left are means over the last
// `log_every` steps, at least one.
//
//   epoch 2  step 120/352 [====>       ] loss 1.2340  25.3 images/s  45s left
class Progress {
 public:
  Progress(std::size_t total_steps, std::size_t log_every, int columns,
           std::ostream& out);
  // Ends the line that is being redrawn.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(const StepReport& report);

  // Shows a text in the bar's place, on a terminal only.
  void status(const std::string& text);

  // Prints a line of its own, above the bar.
  void message(const std::string& text);

 private:
  std::string head() const;
  std::string tail() const;
  void draw_bar();
  void draw(std::string line);
  void clear_bar();

  std::size_t total_steps_;
  std::size_t log_every_;
  int columns_;
  std::ostream& out_;
  std::deque<StepReport> window_;
  bool bar_shown_ = false;
};

}  // namespace ringlet
