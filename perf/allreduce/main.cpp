#include "allreduce/program.hpp"

int main(int argc, char** argv) { return cpdcomm::perf::run_allreduce_perf(argc, argv); }
