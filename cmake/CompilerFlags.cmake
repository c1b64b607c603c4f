# Flags that every target of the project takes through cpdcomm_flags; none leaks to its users.
add_library(cpdcomm_flags INTERFACE)

# One fused multiply-add would break the promise of equal bits on every machine.
target_compile_options(cpdcomm_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off;-Wall;-Wextra;-Wpedantic;-Wconversion;-Wshadow>)

# At -O3 g++ 12 takes its own library's sums of strings for overlapping copies (its bug 105651).
target_compile_options(cpdcomm_flags INTERFACE
  $<$<AND:$<COMPILE_LANG_AND_ID:CXX,GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>:-Wno-restrict>)

if(CPDCOMM_WERROR)
  target_compile_options(cpdcomm_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()

if(CPDCOMM_SANITIZE)
  target_compile_options(cpdcomm_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${CPDCOMM_SANITIZE};-fno-sanitize-recover=all;-fno-omit-frame-pointer>)
  target_link_options(cpdcomm_flags INTERFACE -fsanitize=${CPDCOMM_SANITIZE})
endif()
