# What makes a build faster where it is there; nothing of it changes what is built.

# What did not change need not be compiled again, not even after the build folder has gone.
find_program(CPDCOMM_CCACHE ccache)
if(CPDCOMM_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Its hash must see the precompiled header, and not when that was made.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${CPDCOMM_CCACHE})
endif()

# g++ 12 knows mold by name.
find_program(CPDCOMM_MOLD mold)
if(CPDCOMM_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
mark_as_advanced(CPDCOMM_CCACHE CPDCOMM_MOLD)

# A precompiled header fits sources with the same flags: programs take those of libraries, too.
if(CPDCOMM_FAST_BUILD)
  set(CMAKE_CXX_COMPILE_OPTIONS_PIE ${CMAKE_CXX_COMPILE_OPTIONS_PIC})
endif()

# cpdcomm_precompiled(<target> <header>...): headers that most of its files include. A build without
# CPDCOMM_FAST_BUILD, such as the package's, finds what a file forgot to include itself.
function(cpdcomm_precompiled target)
  if(CPDCOMM_FAST_BUILD)
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()

# cpdcomm_precompiled_as(<target> <other>): those of another target with the same flags.
function(cpdcomm_precompiled_as target other)
  if(CPDCOMM_FAST_BUILD)
    target_precompile_headers(${target} REUSE_FROM ${other})
    # It was made with this definition, and fits nobody without it.
    target_compile_definitions(${target} PRIVATE ${CPDCOMM_HIGHWAY_DEFINITIONS})
  endif()
endfunction()
