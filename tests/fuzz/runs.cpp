// One-shot tasks drawn once: any bytes as such an .npz file.

#include "graft/data/runs.hpp"

#include "arrays.hpp"
#include "target.hpp"

FUZZ_TARGET(runs) {
  const fuzz::MemoryFile file(bytes);
  graft::OneShotRuns data;
  if (!fuzz::reads(file.path(), [&] { data = graft::load_runs(file.path()); })) return false;
  fuzz::require(data.runs > 0 && data.items > 0 && data.size > 0, "there are runs");
  for (graft::Index run = 0; run < data.runs; ++run) {
    const graft::Episode<> episode = data.episode(run);
    fuzz::require(episode.support.x.shape() == graft::Shape{data.items, data.size, data.size, 1} &&
                      episode.query.x.shape() == episode.support.x.shape(),
                  "a run has as many queries as support items");
    for (const std::int64_t place : host(episode.query.y))
      fuzz::require(place >= 0 && place < data.items, "answers are places in the support");
  }
  const fuzz::MemoryFile again;
  graft::write_runs(again.path(), data);
  fuzz::require(fingerprints(graft::load_runs(again.path())) == fingerprints(data),
                "what was read is written and read again");
  return true;
}
