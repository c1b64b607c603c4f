# cpdcomm_test(<room> <source>...): the tests of one room of the library, what it hides included.
# Each case is a ctest with the room as its label; `threads` many of them keep as many cores busy.
function(cpdcomm_test room)
  cmake_parse_arguments(PARSE_ARGV 1 TEST "" "PROCESSORS" "")
  if(NOT TEST_PROCESSORS)
    set(TEST_PROCESSORS 1)
  endif()
  add_executable(test_${room} ${TEST_UNPARSED_ARGUMENTS})
  target_link_libraries(test_${room} PRIVATE cpdcomm_test_support GTest::gtest_main)
  gtest_discover_tests(test_${room} TEST_PREFIX ${room}. DISCOVERY_TIMEOUT 60
    PROPERTIES LABELS ${room} PROCESSORS ${TEST_PROCESSORS} TIMEOUT 300)
endfunction()
