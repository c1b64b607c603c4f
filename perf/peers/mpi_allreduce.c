/* MPI_Allreduce of FP32 alone, timed as cpd-allreduce-perf does, for MPI libraries that the rest is
 * not built with. Writes the JSON of perf/schema/allreduce.schema.json. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "finalize.h"

enum { FEWEST_ITERATIONS = 3, FAILED = 2, TEXT = 256 };

static const char* const kHelp =
    "MPI_Allreduce of FP32 values, timed as cpd-allreduce-perf does.\n\n"
    "  -b BYTES  smallest vector (33554432)   -e BYTES  largest vector (33554432)\n"
    "  -f N      each size N times the one before (2)\n"
    "  -n N      timed calls of each size (20)   -w N  calls before them (1)\n"
    "  -c N      checks the first sum of each size where N is not 0 (1)\n"
    "  --time-limit S  seconds for the timed calls of one size, about; at least 3 calls (none)\n"
    "  -J FILE   write JSON, which overwrites FILE\n\n"
    "examples:\n"
    "  mpiexec.mpich -n 4 cpd-mpich-perf -b 1024 -e 67108864 -f 4 -J mpich.json\n"
    "  perf/lab with 4 --rate 1gbit -- run --launcher mpich -- cpd-mpich-perf -b 4194304\n\n"
    "exit codes: 0 all sums are right, 1 one is wrong, 2 bad usage or another error\n";

struct options {
  long first, last, factor, iterations, warmups, checks;
  double time_limit;
  const char* json;
};

struct run {
  struct options options;
  int rank, ranks;
  float *in, *out;
  double* times; /* microseconds, of each iteration */
  FILE* file;    /* of rank 0, where JSON is asked for */
  long wrong;
};

/* What all ranks find wrong alike. */
static void fail(const char* what, const char* value) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0) fprintf(stderr, "cpd-mpich-perf: %s%s\n", what, value);
  finalize_and_exit(FAILED);
}

/* What one rank alone finds wrong. */
static void abort_all(const char* what) {
  fprintf(stderr, "cpd-mpich-perf: %s\n", what);
  MPI_Abort(MPI_COMM_WORLD, FAILED);
}

static long number_of(const char* flag, const char* text) {
  char* rest = NULL;
  const long number = text ? strtol(text, &rest, 10) : -1;
  if (number < 0 || *rest != '\0') fail("a whole number, 0 or more, is needed after ", flag);
  return number;
}

static int set_number(struct options* o, const char* flag, const char* value) {
  const char* const flags[] = {"-b", "-e", "-f", "-n", "-w", "-c"};
  long* const places[] = {&o->first, &o->last, &o->factor, &o->iterations, &o->warmups, &o->checks};
  for (int i = 0; i < 6; ++i) {
    if (strcmp(flag, flags[i]) != 0) continue;
    *places[i] = number_of(flag, value);
    return 1;
  }
  return 0;
}

static struct options parse(int argc, char** argv) {
  struct options o = {32 << 20, 32 << 20, 2, 20, 1, 1, 0, NULL};
  for (int i = 1; i < argc; i += 2) {
    const char* const value = i + 1 < argc ? argv[i + 1] : NULL;
    if (set_number(&o, argv[i], value)) continue;
    if (value && strcmp(argv[i], "--time-limit") == 0) {
      o.time_limit = atof(value);
    } else if (value && strcmp(argv[i], "-J") == 0) {
      o.json = value;
    } else {
      fail("--help tells what is allowed, which is not ", argv[i]);
    }
  }
  if (o.first < 4 || o.first > o.last) fail("-b: 4 bytes or more, at most -e", "");
  if (o.factor < 2) fail("-f: 2 or more", "");
  if (o.iterations < 1) fail("-n: 1 or more", "");
  return o;
}

/* Whole numbers: their sums are exact in any order. */
static float value_of(int rank, size_t i) {
  return (float)((int)((i * 7 + (size_t)rank * 13) % 201) - 100);
}

static double timed_call(struct run* run, int count) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double begin = MPI_Wtime();
  MPI_Allreduce(run->in, run->out, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
  return (MPI_Wtime() - begin) * 1e6;
}

/* Wrong values on all ranks. */
static long check(struct run* run, int count) {
  memset(run->out, 0xff, (size_t)count * sizeof(float));
  timed_call(run, count);
  long wrong = 0;
  for (size_t i = 0; i < (size_t)count; ++i) {
    float sum = 0;
    for (int rank = 0; rank < run->ranks; ++rank) sum += value_of(rank, i);
    if (run->out[i] != sum) ++wrong;
  }
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  return wrong;
}

/* Rank 0's clock decides for all. */
static int time_is_over(const struct run* run, double begin) {
  int over = run->options.time_limit > 0 && MPI_Wtime() - begin > run->options.time_limit;
  MPI_Bcast(&over, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return over;
}

/* Fills run->times, each the mean over the ranks; how many they are. */
static int measure(struct run* run, int count) {
  for (long i = 0; i < run->options.warmups; ++i) timed_call(run, count);
  const double begin = MPI_Wtime();
  int done = 0;
  while (done < run->options.iterations) {
    if (done >= FEWEST_ITERATIONS && time_is_over(run, begin)) break;
    run->times[done++] = timed_call(run, count);
  }
  MPI_Allreduce(MPI_IN_PLACE, run->times, done, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  for (int i = 0; i < done; ++i) run->times[i] /= run->ranks;
  return done;
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void write_times(FILE* file, const double* times, int count) {
  for (int i = 0; i < count; ++i) fprintf(file, "%s%.3f", i ? ", " : "", times[i]);
}

static void write_row(struct run* run, long size, int done, long wrong, int is_first) {
  FILE* const file = run->file;
  fprintf(file, "%s\n  {\"size\": %ld, \"count\": %ld, \"type\": \"float\", \"redop\": \"sum\",",
          is_first ? "" : ",", size, size / 4);
  fprintf(file,
          " \"wire\": \"fp32\", \"algorithm\": \"mpi\", \"algorithm_taken\": null,"
          " \"accumulate\": null, \"scaling\": null, \"rounding\": null,"
          " \"in_place\": false, \"ranks\": %d, \"iterations\": %d, \"times_us\": [",
          run->ranks, done);
  write_times(file, run->times, done);
  qsort(run->times, (size_t)done, sizeof(double), ascending);
  const double median = (run->times[(done - 1) / 2] + run->times[done / 2]) / 2;
  const double p99 = run->times[(99 * done + 99) / 100 - 1];
  const double speed = (double)size / 1e3 / median;
  fprintf(file, "], \"time_us\": %.3f, \"time_us_min\": %.3f, \"time_us_p99\": %.3f,", median,
          run->times[0], p99);
  fprintf(file,
          " \"algbw\": %.6f, \"busbw\": %.6f, \"wire_bytes\": null, \"wire_bytes_max\": null,"
          " \"wirebw\": null, \"gain\": 1.0, \"rel_rms\": null, \"max_error\": null,",
          speed, speed * 2 * (run->ranks - 1) / run->ranks);
  if (run->options.checks) {
    fprintf(file, " \"checked_against\": \"bits\", \"wrong\": %ld}", wrong);
  } else {
    fprintf(file, " \"checked_against\": null, \"wrong\": null}");
  }
  printf("%12ld  %12.2f us\n", size, median);
}

static void write_head(struct run* run, int argc, char** argv) {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "", date[TEXT], host[TEXT] = "";
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  mpi[strcspn(mpi, "\n,")] = '\0';
  for (char* c = strchr(mpi, '\t'); c; c = strchr(c, '\t')) *c = ' ';
  const time_t now = time(NULL);
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
  gethostname(host, sizeof host - 1);
  FILE* const file = run->file;
  fprintf(file,
          "{\"schema\": \"cpd-allreduce-perf/1\", \"program\": \"cpd-mpich-perf\",\n"
          " \"version\": \"1\", \"date\": \"%s\", \"mpi\": \"%s\", \"transport\": \"mpi\",\n",
          date, mpi);
  fprintf(file, " \"command\": [");
  for (int i = 0; i < argc; ++i) fprintf(file, "%s\"%s\"", i ? ", " : "", argv[i]);
  fprintf(file,
          "],\n \"machine\": {\"cpu_model\": \"\", \"instruction_sets\": \"\", \"cores\": %ld,"
          " \"simd_target\": \"\", \"ranks\": %d, \"hosts\": [\"%s\"]},\n",
          sysconf(_SC_NPROCESSORS_ONLN), run->ranks, host);
  fprintf(file, " \"options\": {\"iters\": %ld}, \"left_out\": [], \"results\": [",
          run->options.iterations);
}

static void prepare(struct run* run) {
  const size_t most = (size_t)run->options.last / sizeof(float);
  run->in = malloc(most * sizeof(float));
  run->out = malloc(most * sizeof(float));
  run->times = malloc((size_t)run->options.iterations * sizeof(double));
  if (!run->in || !run->out || !run->times) abort_all("no memory for vectors of -e bytes");
  for (size_t i = 0; i < most; ++i) run->in[i] = value_of(run->rank, i);
  memset(run->out, 0, most * sizeof(float));
  int opened = 1;
  if (run->rank == 0) {
    run->file = fopen(run->options.json ? run->options.json : "/dev/null", "w");
    opened = run->file != NULL;
  }
  MPI_Bcast(&opened, 1, MPI_INT, 0, MPI_COMM_WORLD);
  if (!opened) fail("cannot write to ", run->options.json);
}

int main(int argc, char** argv) {
  struct run run = {0};
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &run.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &run.ranks);
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    if (run.rank == 0) fputs(kHelp, stdout);
    return MPI_Finalize();
  }
  run.options = parse(argc, argv);
  prepare(&run);
  if (run.rank == 0) write_head(&run, argc, argv);
  for (long size = run.options.first / 4 * 4; size <= run.options.last;
       size *= run.options.factor) {
    const long wrong = run.options.checks ? check(&run, (int)(size / 4)) : 0;
    const int done = measure(&run, (int)(size / 4));
    if (run.rank == 0) write_row(&run, size, done, wrong, size == run.options.first / 4 * 4);
    run.wrong += wrong;
  }
  if (run.rank == 0) fputs("\n]}\n", run.file);
  if (run.rank == 0 && fclose(run.file) != 0) abort_all("cannot write all of the JSON");
  finalize_and_exit(run.wrong ? 1 : 0);
}
