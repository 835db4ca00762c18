#pragma once
// Everything up to the optimisers. Methods, data, files and the protocol have their own headers. The rooms stand from
// the ground up, so that a compiler's message leads to a header by a short way.

#include "graft/core/print.hpp"
#include "graft/core/refuse.hpp"

#include "graft/ops/map.hpp"
#include "graft/ops/arithmetic.hpp"
#include "graft/ops/attention.hpp"
#include "graft/ops/conv.hpp"
#include "graft/ops/conv_norm_pool.hpp"
#include "graft/ops/csr.hpp"
#include "graft/ops/dropout.hpp"
#include "graft/ops/elementwise.hpp"
#include "graft/ops/graph_attention.hpp"
#include "graft/ops/layout.hpp"
#include "graft/ops/losses.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/norm.hpp"
#include "graft/ops/pool.hpp"
#include "graft/ops/reduce.hpp"
#include "graft/ops/sampling.hpp"
#include "graft/ops/segment.hpp"
#include "graft/ops/softmax.hpp"

#include "graft/model/arithmetic.hpp"
#include "graft/model/context.hpp"
#include "graft/model/descent.hpp"
#include "graft/model/grad.hpp"
#include "graft/model/init.hpp"
#include "graft/model/names.hpp"
#include "graft/model/solvers.hpp"

#include "graft/nn/attention.hpp"
#include "graft/nn/conv.hpp"
#include "graft/nn/conv_block.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/embedding.hpp"
#include "graft/nn/linear.hpp"
#include "graft/nn/norm.hpp"
#include "graft/nn/sequential.hpp"
#include "graft/nn/transformer.hpp"

#include "graft/graph/gat.hpp"
#include "graft/graph/gatv2.hpp"

#include "graft/optim/adam.hpp"
#include "graft/optim/schedule.hpp"
#include "graft/optim/sgd.hpp"

#ifdef GRAFT_COMPILED
#include "graft/compiled.hpp"
#endif
