#pragma once
// Number of the wrong derivative that is switched on; 0 for none. See mutation.py.
inline int graft_mutant = 0;
