# Defines graft::mpi where CMake finds MPI: what a program that includes graft/protocol/mpi_transport.hpp links.
# GRAFT_WITH_MPI is defined for such a program.
set(MPI_CXX_SKIP_MPICXX ON)  # the C++ classes that MPI once had
set(graft_mpi_find QUIET)
if(GRAFT_MPI STREQUAL "ON")
  set(graft_mpi_find REQUIRED)
endif()
if(NOT CMAKE_VERSION VERSION_LESS 3.24)
  list(APPEND graft_mpi_find GLOBAL)
endif()
find_package(MPI ${graft_mpi_find} COMPONENTS CXX)
if(MPI_CXX_FOUND AND NOT TARGET graft::mpi)
  add_library(graft_mpi INTERFACE)
  add_library(graft::mpi ALIAS graft_mpi)
  target_link_libraries(graft_mpi INTERFACE graft::graft MPI::MPI_CXX)
  target_compile_definitions(graft_mpi INTERFACE GRAFT_WITH_MPI)
endif()
