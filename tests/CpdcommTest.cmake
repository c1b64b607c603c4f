# cpdcomm_test_program(<name> <source>...): a program that tests run.
function(cpdcomm_test_program name)
  add_executable(${name} ${ARGN})
  target_compile_options(${name} PRIVATE ${CPDCOMM_TEST_OPTIMISATION})
  target_link_libraries(${name} PRIVATE cpdcomm_flags GTest::gtest)
  cpdcomm_precompiled_as(${name} cpdcomm_test_headers)
  add_dependencies(cpdcomm_tests ${name})
endfunction()

# cpdcomm_test(<room> [PROCESSORS n] SMOKE <filter> <source>...): the tests of one room of the library,
# what it hides included. Each case is a ctest with the room as its label, and keeps so many of
# ctest's jobs busy. The cases of the filter are one test more, which scripts/test --quick runs.
function(cpdcomm_test room)
  cmake_parse_arguments(PARSE_ARGV 1 TEST "" "PROCESSORS;SMOKE" "")
  if(NOT TEST_PROCESSORS)
    set(TEST_PROCESSORS 1)
  endif()
  cpdcomm_test_program(test_${room} ${TEST_UNPARSED_ARGUMENTS})
  target_link_libraries(test_${room}
    PRIVATE cpdcomm_test_support cpdcomm_objects GTest::gtest_main)
  gtest_discover_tests(test_${room} TEST_PREFIX ${room}. NO_PRETTY_VALUES
    DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${room} PROCESSORS ${TEST_PROCESSORS} TIMEOUT 300)
  if(TEST_SMOKE)
    add_test(NAME smoke.${room} COMMAND test_${room} --gtest_filter=${TEST_SMOKE})
    set_tests_properties(smoke.${room} PROPERTIES LABELS smoke TIMEOUT 300)
  endif()
endfunction()

# What Open MPI needs on a small machine or in a container; other implementations do not read it.
set(CPDCOMM_MPI_TEST_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
  OMPI_MCA_mpi_yield_when_idle=1)

# cpdcomm_mpi_test(<name> <program> <processes> [ENVIRONMENT <variable>=<value>...]
#                  [ARGUMENTS <argument>...]): one run under mpiexec.
function(cpdcomm_mpi_test name program processes)
  cmake_parse_arguments(PARSE_ARGV 3 TEST "" "" "ENVIRONMENT;ARGUMENTS")
  add_test(NAME mpi.${name}
    COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${processes} $<TARGET_FILE:${program}>
      ${TEST_ARGUMENTS})
  set_tests_properties(mpi.${name} PROPERTIES LABELS mpi PROCESSORS ${processes} TIMEOUT 120
    ENVIRONMENT "${CPDCOMM_MPI_TEST_ENVIRONMENT};${TEST_ENVIRONMENT}")
endfunction()
