# The installed tree: find_package(cpdcomm COMPONENTS mpi ucx) and cpdcomm.pc.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/cpdcomm DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS cpdcomm EXPORT cpdcommCoreTargets)
install(EXPORT cpdcommCoreTargets NAMESPACE cpdcomm::
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cpdcomm)
foreach(name IN ITEMS Mpi Ucx)
  string(TOLOWER ${name} transport)
  if(TARGET cpdcomm_${transport})
    install(TARGETS cpdcomm_${transport} EXPORT cpdcomm${name}Targets)
    install(EXPORT cpdcomm${name}Targets NAMESPACE cpdcomm::
            DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cpdcomm)
  endif()
endforeach()

configure_package_config_file(cmake/cpdcommConfig.cmake.in
  ${PROJECT_BINARY_DIR}/cpdcommConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cpdcomm)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cpdcommConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
# Relative, so that the tree may be installed or moved anywhere.
file(RELATIVE_PATH CPDCOMM_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/cpdcomm.pc.in ${PROJECT_BINARY_DIR}/cpdcomm.pc @ONLY)

install(FILES ${PROJECT_BINARY_DIR}/cpdcommConfig.cmake
              ${PROJECT_BINARY_DIR}/cpdcommConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/cpdcomm)
install(FILES ${PROJECT_BINARY_DIR}/cpdcomm.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
