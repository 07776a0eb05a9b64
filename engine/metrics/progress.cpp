#include "engine/metrics/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "kernels/runtime/error.h"
#include "kernels/runtime/number.h"

namespace ringlet {
namespace {

constexpr int kMostColumns = 1000;
constexpr int kSmallestBar = 10;  // below it the bar says nothing: left out
constexpr const char* kClearLine = "\r\x1b[K";  // ANSI: erase to line's end

// "[=====>    ]" of `width` characters.
std::string bar(double done, int width) {
  const int inside = width - 2;
  const int filled = static_cast<int>(done * inside);
  std::string text(static_cast<std::size_t>(filled), '=');
  if (filled < inside) text += '>';
  return fmt::format("[{:<{}}]", text, inside);
}

}  // namespace

int terminal_columns() {
  if (const char* text = std::getenv("RINGLET_TERMINAL")) {
    const auto columns = parse_number<int>(text);
    if (!columns || *columns < 0 || *columns > kMostColumns) {
      throw Error(fmt::format(
          "RINGLET_TERMINAL is '{}', expected a number of columns, 0 to {}",
          text, kMostColumns));
    }
    return *columns;
  }
  winsize size{};
  if (!isatty(STDOUT_FILENO)) return 0;
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

std::string format_duration(double seconds) {
  const long long all = std::llround(seconds);
  if (all >= 3600) {
    return fmt::format("{}h{:02}m", all / 3600, all / 60 % 60);
  }
  if (all >= 60) return fmt::format("{}m{:02}s", all / 60, all % 60);
  return fmt::format("{}s", all);
}

Progress::Progress(std::size_t total_steps, std::size_t log_every, int columns,
                   std::ostream& out)
    : total_steps_(total_steps),
      log_every_(std::max<std::size_t>(log_every, 1)),
      columns_(columns),
      out_(out) {}

Progress::~Progress() {
  if (bar_shown_) out_ << std::endl;
}

void Progress::update(const StepReport& report) {
  window_.push_back(report);
  if (window_.size() > log_every_) window_.pop_front();
  if (columns_ > 0) {
    draw_bar();
  } else if (report.step % log_every_ == 0 || report.step == total_steps_) {
    out_ << head() << "  " << tail() << std::endl;
  }
}

void Progress::status(const std::string& text) {
  if (columns_ > 0) draw(text);
}

void Progress::message(const std::string& text) {
  clear_bar();
  out_ << text << std::endl;
  if (columns_ > 0 && !window_.empty()) draw_bar();
}

std::string Progress::head() const {
  const StepReport& last = window_.back();
  return fmt::format("epoch {}  step {}/{}", last.epoch, last.step,
                     total_steps_);
}

std::string Progress::tail() const {
  StepReport sum;
  for (const auto& report : window_) {
    sum.loss += report.loss;
    sum.images += report.images;
    sum.seconds += report.seconds;
  }
  const auto steps = static_cast<double>(window_.size());
  const std::size_t done = std::min(window_.back().step, total_steps_);
  const auto left = static_cast<double>(total_steps_ - done);
  return fmt::format("loss {:.4f}  {:.1f} images/s  {} left", sum.loss / steps,
                     sum.seconds > 0 ? sum.images / sum.seconds : 0.0,
                     format_duration(left * sum.seconds / steps));
}

void Progress::draw_bar() {
  const std::string left = head(), right = tail();
  const int room =
      columns_ - 1 - static_cast<int>(left.size() + right.size() + 2);
  const double done = std::min(1.0, static_cast<double>(window_.back().step) /
                                        static_cast<double>(total_steps_));
  draw(room < kSmallestBar ? left + "  " + right
                           : left + " " + bar(done, room) + " " + right);
}

// The last column stays free: a character there makes some terminals wrap.
void Progress::draw(std::string line) {
  line.resize(std::min(line.size(), static_cast<std::size_t>(columns_ - 1)));
  out_ << kClearLine << line << std::flush;
  bar_shown_ = true;
}

void Progress::clear_bar() {
  if (bar_shown_) out_ << kClearLine;
  bar_shown_ = false;
}

}  // namespace ringlet
