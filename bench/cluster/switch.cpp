// The switch of the emulated cluster: cluster_switch HOSTS BITS_PER_SECOND
// LATENCY_US makes HOSTS network devices vsw0, vsw1, ... and passes their
// Ethernet frames on: after what the link takes to send one, and the latency.
// Prints "ready" once they are there; runs until it is killed.
//
// The kernel's own way to delay packets, netem, is missing in many kernels.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr std::size_t kLargestFrame = 9200;
// More than this waiting for a link are dropped, as in a switch's buffer.
constexpr std::size_t kMostWaiting = 512;

struct Frame {
  Clock::time_point due;
  std::vector<char> bytes;
};

struct Port {
  int device;
  Clock::time_point sending_until{};  // from its host into the switch
  Clock::time_point idle_at{};        // from the switch to its host
  std::deque<Frame> waiting;
};

using Address = std::array<char, 6>;

int open_device(const std::string& name) {
  const int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  if (device < 0 || ioctl(device, TUNSETIFF, &request) < 0) {
    std::printf("/dev/net/tun: %s\n", std::strerror(errno));
    std::exit(1);
  }
  return device;
}

class Switch {
 public:
  Switch(int hosts, double bits_per_second, double latency_us)
      : seconds_per_byte_(8 / bits_per_second), latency_(latency_us * 1e-6) {
    for (int i = 0; i < hosts; ++i) {
      ports_.push_back({open_device("vsw" + std::to_string(i)), {}, {}, {}});
    }
  }

  [[noreturn]] void run() {
    for (;;) {
      wait();
      for (std::size_t from = 0; from < ports_.size(); ++from) receive(from);
      for (Port& port : ports_) deliver(port);
    }
  }

 private:
  // Until a frame comes or one is due.
  void wait() {
    auto next = Clock::now() + Seconds(1);
    using Due = decltype(next);
    for (const Port& port : ports_) {
      if (!port.waiting.empty()) {
        next = std::min(next, Due(port.waiting.front().due));
      }
    }
    std::vector<pollfd> files;
    for (const Port& port : ports_) files.push_back({port.device, POLLIN, 0});
    const double left = Seconds(next - Clock::now()).count();
    timespec limit{};
    limit.tv_nsec = left > 0 ? static_cast<long>(std::min(left, 0.9) * 1e9) : 0;
    ppoll(files.data(), files.size(), &limit, nullptr);
  }

  void receive(std::size_t from) {
    std::array<char, kLargestFrame> buffer;
    ssize_t length;
    while ((length = read(ports_[from].device, buffer.data(), buffer.size())) >
           12) {
      Address to, by;
      std::memcpy(to.data(), buffer.data(), to.size());
      std::memcpy(by.data(), buffer.data() + 6, by.size());
      hosts_[by] = from;
      const auto arrival =
          leave(ports_[from], static_cast<std::size_t>(length));
      const auto known = hosts_.find(to);
      for (std::size_t i = 0; i < ports_.size(); ++i) {
        if (i == from || (known != hosts_.end() && known->second != i))
          continue;
        queue(ports_[i], arrival, {buffer.data(), buffer.data() + length});
      }
    }
  }

  Clock::duration time_of(std::size_t bytes) const {
    return std::chrono::duration_cast<Clock::duration>(
        Seconds(static_cast<double>(bytes) * seconds_per_byte_));
  }

  // When the last byte of a frame has left its host and crossed the wire.
  Clock::time_point leave(Port& port, std::size_t bytes) const {
    port.sending_until =
        std::max(port.sending_until, Clock::now()) + time_of(bytes);
    return port.sending_until +
           std::chrono::duration_cast<Clock::duration>(Seconds(latency_));
  }

  void queue(Port& port, Clock::time_point arrival, std::vector<char> bytes) {
    if (port.waiting.size() >= kMostWaiting) return;
    // A frame that finds the link idle goes through while it arrives.
    port.idle_at = std::max(arrival, port.idle_at + time_of(bytes.size()));
    port.waiting.push_back({port.idle_at, std::move(bytes)});
  }

  static void deliver(Port& port) {
    const auto now = Clock::now();
    while (!port.waiting.empty() && port.waiting.front().due <= now) {
      const std::vector<char>& bytes = port.waiting.front().bytes;
      [[maybe_unused]] const auto written =
          write(port.device, bytes.data(), bytes.size());
      port.waiting.pop_front();
    }
  }

  double seconds_per_byte_, latency_;
  std::vector<Port> ports_;
  std::map<Address, std::size_t> hosts_;  // behind which port
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::puts("usage: cluster_switch HOSTS BITS_PER_SECOND LATENCY_US");
    return 2;
  }
  Switch network(std::atoi(argv[1]), std::atof(argv[2]), std::atof(argv[3]));
  std::puts("ready");
  std::fflush(stdout);
  network.run();
}
