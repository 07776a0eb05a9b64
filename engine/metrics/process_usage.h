#pragma once

namespace ringlet {

// What the kernel knows of this process since its start.
struct ProcessUsage {
  long page_faults;        // that needed no disk
  double peak_memory_mib;  // the most that was ever resident
  double cpu_seconds;      // of all threads, user and system
};
ProcessUsage process_usage();

}  // namespace ringlet
