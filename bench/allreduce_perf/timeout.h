#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace ringlet {

// Ends the whole job, saying what took too long, unless it is destroyed within
// `seconds`; 0: never.
class Timeout {
 public:
  Timeout(double seconds, std::function<std::string()> what);
  ~Timeout();
  Timeout(const Timeout&) = delete;
  Timeout& operator=(const Timeout&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace ringlet
