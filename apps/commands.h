#pragma once

// The subcommands of `ringlet`. Each takes its own arguments, its name first,
// and returns the program's exit status.
namespace ringlet {

int train_command(int argc, char** argv);
int launch_command(int argc, char** argv);
int verify_command(int argc, char** argv);
int diff_command(int argc, char** argv);
int metrics_command(int argc, char** argv);
int eval_command(int argc, char** argv);
int predict_command(int argc, char** argv);
int export_command(int argc, char** argv);
int import_command(int argc, char** argv);
int explain_command(int argc, char** argv);
int crash_command(int argc, char** argv);
int doctor_command(int argc, char** argv);

}  // namespace ringlet
