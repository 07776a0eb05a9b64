/* The loop of fault_loop as it looks with MPI alone: what plain MPI_Allreduce
   makes of the same faults. bench/faults.py runs it.

     mpirun -np 3 mpi_faults KIND RANK STEP [STEPS]

   A fault is in the first of a step's two calls. Exit status 4: a wrong sum. */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { kFirst = 262144, kSecond = 10000 };
static float data[kFirst + kSecond];

static int holds(const float *values, int count, float value) {
  for (int i = 0; i < count; ++i) {
    if (values[i] != value) return 0;
  }
  return 1;
}

static void all_reduce(float *values, int count, MPI_Datatype type, MPI_Op op) {
  MPI_Allreduce(MPI_IN_PLACE, values, count, type, op, MPI_COMM_WORLD);
}

static void both(const char *kind) {
  float *second = data + kFirst;
  if (!strcmp(kind, "stop")) raise(SIGSTOP);
  if (!strcmp(kind, "kill")) raise(SIGKILL);
  if (!strcmp(kind, "segfault")) raise(SIGSEGV);
  if (!strcmp(kind, "exit")) _exit(0);
  if (!strcmp(kind, "throw")) exit(1);
  while (!strcmp(kind, "lost")) sleep(1000);
  if (!strcmp(kind, "swap")) all_reduce(second, kSecond, MPI_FLOAT, MPI_SUM);
  if (strcmp(kind, "skip")) {
    all_reduce(data, kFirst - !strcmp(kind, "count"),
               strcmp(kind, "dtype") ? MPI_FLOAT : MPI_INT32_T,
               strcmp(kind, "redop") ? MPI_SUM : MPI_MAX);
  }
  if (!strcmp(kind, "extra")) all_reduce(data, kFirst, MPI_FLOAT, MPI_SUM);
  if (strcmp(kind, "swap")) all_reduce(second, kSecond, MPI_FLOAT, MPI_SUM);
}

int main(int argc, char **argv) {
  int rank, ranks;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const int odd = atoi(argv[2]), when = atoi(argv[3]);
  const int steps = argc > 4 ? atoi(argv[4]) : 50;
  for (int step = 1; step <= steps; ++step) {
    usleep(4000);
    for (int i = 0; i < kFirst + kSecond; ++i) {
      data[i] = (float)(i < kFirst ? step : -step);
    }
    const int now = rank == odd && step == when;
    if (now) fprintf(stderr, "rank %d has its fault now: %s\n", rank, argv[1]);
    both(now ? argv[1] : "");
    const float sum = (float)(step * ranks);
    if (!holds(data, kFirst, sum) || !holds(data + kFirst, kSecond, -sum)) {
      fprintf(stderr, "rank %d: a wrong sum in step %d\n", rank, step);
      MPI_Abort(MPI_COMM_WORLD, 4);
    }
  }
  MPI_Finalize();
  return 0;
}
