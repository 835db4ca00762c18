// A program of ranks that uses an installed graft.

#include <cstdio>

#include "graft/protocol/mpi_transport.hpp"

int main() {
  graft::MpiTransport ranks;
  std::printf("rank %d of %d\n", static_cast<int>(ranks.rank()), static_cast<int>(ranks.ranks()));
}
