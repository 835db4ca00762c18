#pragma once
// A small set of generated characters for tests.

#include "graft/data/glyphs.hpp"

inline graft::GlyphOptions few_glyphs() {
  graft::GlyphOptions options;
  options.alphabets = 4;
  options.test_alphabets = 1;
  options.characters_min = 5;
  options.characters_max = 8;
  options.drawers = 3;
  return options;
}
