#pragma once

#include <string>
#include <vector>

// How this program starts ranks of itself: `ringlet launch` does, and `ringlet
// doctor` says how one would by hand.
namespace ringlet {

// Gives what this process starts the settings by which Open MPI 4 and 5 start
// ranks on any machine; what is set already stays. scripts/env says why.
void set_mpirun_environment();

std::string own_path();

// mpirun OPTIONS... ringlet COMMAND...
std::vector<std::string> mpirun_words(const std::vector<std::string>& options,
                                      const std::vector<std::string>& command);

// The words as a POSIX shell takes them.
std::string shell_line(const std::vector<std::string>& words);

// The same, with what set_mpirun_environment()
// would still have to set before them.
std::string mpirun_line(const std::vector<std::string>& words);

// Becomes that program, looked for in PATH; where that cannot be, says so and
// ends with status 127, as shells do.
[[noreturn]] void become(const std::vector<std::string>& words);

}  // namespace ringlet
