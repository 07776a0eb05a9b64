#pragma once

// What `ringlet train --help` says before and after its options.
namespace ringlet {

inline constexpr const char* kDescription =
    "Trains a ResNet on CIFAR-10 or on built-in pictures. Under mpirun -np N "
    "the\nbatch is split over N ranks, whose gradients are summed while "
    "backward goes on:\nthe result is that of one process with the whole "
    "batch, but for batch norm,\nwhose statistics are each rank's own.";

inline constexpr const char* kExamples =
    R"(The run's folder gets config.json (all options, versions, host), metrics.jsonl
(every step and epoch), hashes.bin (for ringlet diff and verify),
model.safetensors (weights, torchvision's names) and checkpoints. SIGUSR1 to the
ranks or to mpirun saves a checkpoint, SIGUSR2 saves one and ends the run; so do
Ctrl-C and SIGTERM without mpirun, and under ringlet launch.

Examples:
  ringlet train
      ResNet-50 on the built-in pictures, 140 steps, in one process
  mpirun -np 2 ringlet train --data data/cifar10 --epochs 10 --batch-size 128
      CIFAR-10 on two ranks, 64 pictures each
  mpirun -np 2 ringlet train --model resnet20 --data data/cifar10 --epochs 30 \
      --batch-size 128 --lr 0.1 --schedule multistep --milestones 15,25
  mpirun -np 2 ringlet train --resume runs/NAME
      goes on with a run that was stopped or killed)";

}  // namespace ringlet
