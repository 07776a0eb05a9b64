/* MPI_Allreduce alone, without a line of Ringlet: a cross-check of what
 * allreduce_perf measures of "mpi". Sum of floats in place, from 4 bytes on; a
 * barrier before each operation. The mean is over operations and ranks, the
 * shortest and longest are of any operation on any rank. Options, in this
 * order: -m puts each rank's median in the mean's place; -w has every rank
 * rewrite its buffer before each operation, as a backward pass does, outside
 * the time; without it the data lie in the caches where the last one left them.
 *
 *   mpicc -O3 -march=native bench/peers/plain_allreduce.c -o plain_allreduce
 *   mpirun -np 2 ./plain_allreduce [-m] [-w] [largest size in bytes]
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kLeast = 4, kMost = 256 << 20, kMostIterations = 2000 };

static int iterations_for(size_t bytes) {
  if (bytes <= 16 << 10) return kMostIterations;
  if (bytes <= 1 << 20) return 200;
  return bytes <= 32 << 20 ? 30 : 10;
}

static void fill(float* data, size_t count, float value) {
  for (size_t i = 0; i < count; ++i) data[i] = value;
}

static double sum_in_place(float* data, size_t count) {
  const double start = MPI_Wtime();
  MPI_Allreduce(MPI_IN_PLACE, data, (int)count, MPI_FLOAT, MPI_SUM,
                MPI_COMM_WORLD);
  return (MPI_Wtime() - start) * 1e6;
}

static void check(float* data, size_t count, int ranks) {
  fill(data, count, 1);
  sum_in_place(data, count);
  for (size_t i = 0; i < count; ++i) {
    if (data[i] == (float)ranks) continue;
    fprintf(stderr, "element %zu is %g, expected %d\n", i, data[i], ranks);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }
}

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

/* Sorted microseconds of this rank. Zeros stay zeros however often they are
 * summed. */
static void measure(float* data, size_t count, int rewrite, int iterations,
                    double* times) {
  fill(data, count, 0);
  for (int i = -(iterations / 10 + 2); i < iterations; ++i) {
    if (rewrite) fill(data, count, 1);
    MPI_Barrier(MPI_COMM_WORLD);
    const double time = sum_in_place(data, count);
    if (i >= 0) times[i] = time;
  }
  qsort(times, iterations, sizeof *times, compare);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank, ranks, next = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const int median = next < argc && strcmp(argv[next], "-m") == 0 && next++;
  const int rewrite = next < argc && strcmp(argv[next], "-w") == 0 && next++;
  const size_t most = next < argc ? strtoull(argv[next], NULL, 10) : kMost;
  float* data = malloc(most < kLeast ? kLeast : most);
  if (data == NULL) MPI_Abort(MPI_COMM_WORLD, 1);
  if (rank == 0) {
    printf(
        "# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)"
        "  Iterations\n");
  }
  for (size_t bytes = kLeast; bytes <= most; bytes *= 2) {
    const int n = iterations_for(bytes);
    double times[kMostIterations], mine = 0, sum, least, longest;
    check(data, bytes / sizeof *data, ranks);
    measure(data, bytes / sizeof *data, rewrite, n, times);
    for (int i = 0; i < n; ++i) mine += times[i] / n;
    if (median) mine = (times[(n - 1) / 2] + times[n / 2]) / 2;
    MPI_Reduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Reduce(times, &least, 1, MPI_DOUBLE, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(times + n - 1, &longest, 1, MPI_DOUBLE, MPI_MAX, 0,
               MPI_COMM_WORLD);
    if (rank != 0) continue;
    printf("%-10zu%18.2f%18.2f%18.2f%12d\n", bytes, sum / ranks, least, longest,
           n);
    fflush(stdout);
  }
  free(data);
  MPI_Finalize();
  return 0;
}
