# graft::compiled: float and double instances of graft's ops in a static library. Built when something links it, from the
# list in graft/compiled_list.inc, one unit a room.
option(GRAFT_COMPILED_NATIVE "Build graft::compiled and what links it for the CPU that compiles" ON)
set(GRAFT_COMPILED_FLAGS -O2 CACHE STRING
    "Flags of graft::compiled after all others: its kernels are fast in a program that is built for a debugger, too")
set(graft_compiled_sources "")
foreach(room IN ITEMS ELEMENTWISE PRODUCTS LAYOUT REDUCTIONS NORMS ATTENTION GRAPHS LAYERS LINALG
             FUNCTIONS)
  string(TOLOWER ${room} file)
  set(file ${CMAKE_CURRENT_BINARY_DIR}/graft_compiled/${file}.cpp)
  set(content "#define GRAFT_COMPILED_${room} template\n#include \"graft/compiled.hpp\"\n")
  if(room STREQUAL LINALG)  # its lines stand beside its ops: graft.hpp does not read Eigen
    string(APPEND content "#include \"graft/ops/linalg_spectral.hpp\"\n")
  elseif(room STREQUAL FUNCTIONS)
    string(APPEND content "#include \"graft/compiled_functions.hpp\"\n")
  endif()
  file(GENERATE OUTPUT ${file} CONTENT "${content}")
  list(APPEND graft_compiled_sources ${file})
endforeach()
add_library(graft_compiled STATIC EXCLUDE_FROM_ALL ${graft_compiled_sources})
add_library(graft::compiled ALIAS graft_compiled)
set_target_properties(graft_compiled PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
target_link_libraries(graft_compiled PUBLIC $<IF:$<BOOL:${GRAFT_COMPILED_NATIVE}>,graft::native,graft::graft>)
target_compile_definitions(graft_compiled PUBLIC GRAFT_COMPILED)
target_compile_options(graft_compiled PRIVATE ${GRAFT_COMPILED_FLAGS})
