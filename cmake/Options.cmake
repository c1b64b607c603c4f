# What can be chosen. Nothing is downloaded: a missing dependency is an error or leaves its part out.
option(CPDCOMM_TESTS "Build the tests" OFF)
option(CPDCOMM_FUZZ "Build the fuzzers, with clang++" OFF)
option(CPDCOMM_PYTHON "Build the Python package (scikit-build-core sets it)" OFF)
option(CPDCOMM_WERROR "Treat warnings as errors" OFF)
set(CPDCOMM_PERF "OFF" CACHE STRING "Build the benchmarks: ON, OFF or AUTO (what its needs are found for)")
set(CPDCOMM_MPI "AUTO" CACHE STRING "Build the MPI transport: ON, OFF or AUTO (where MPI is found)")
set(CPDCOMM_CUDA "AUTO" CACHE STRING "Compile the numerics for the device: ON, OFF or AUTO")
set(CPDCOMM_SANITIZE "" CACHE STRING "Sanitizers, such as address,undefined or thread")
set_property(CACHE CPDCOMM_PERF CPDCOMM_MPI CPDCOMM_CUDA PROPERTY STRINGS ON OFF AUTO)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
