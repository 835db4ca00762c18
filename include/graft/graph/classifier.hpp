#pragma once
// From the rows of nodes, after every layer, to the classes of graphs.

#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "graft/core/options.hpp"
#include "graft/graph/batch.hpp"
#include "graft/model/names.hpp"
#include "graft/nn/dropout.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/segment.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `GraphClassifier`.
struct GraphClassifierOptions {
  bool input = false;  ///< a linear map of the features stands before the layers
  double dropout = 0;  ///< of the scores, in training
};

/// Scores of classes from the features and all layers, as in Xu, Hu, Leskovec, Jegelka, "How powerful are graph neural
/// networks?", ICLR 2019: logits = sum_l dropout(W_l s_l + b_l), s_l the sum of the rows of x_l over the nodes of each
/// graph, x_0 the features, or input(features), x_l = layer_l(x_(l-1)). A batch and features [nodes, in] -> [graphs,
/// classes]. A layer that takes a `GraphBatch`, as `Gps`, is called as layer(batch, x, context), any other as
/// layer(batch.graph, x, context). Throws ShapeError.
template <class Layer>
struct GraphClassifier {
  using T = ModelScalar<Layer>;
  std::optional<Linear<T>> input;  ///< in -> width
  std::vector<Layer> layers;
  std::vector<Linear<T>> scores;  ///< W_0, b_0 of the features, then one of each layer
  GraphClassifierOptions options;
  GRAFT_FIELDS(input, layers, scores)
  GRAFT_CONFIG(options)

  GraphClassifier() = default;
  /// Of layers that give `width` columns each, on `in` of them.
  GraphClassifier(std::vector<Layer> own, Index in, Index width, Index classes, const Random& random,
                  const GraphClassifierOptions& o = {}, Site site = Site::current())
      : layers(std::move(own)), options(o) {
    if (o.input) input.emplace(in, width, random.stream("input"), LinearOptions{}, site);
    for (std::size_t i = 0; i <= layers.size(); ++i)
      scores.emplace_back(i == 0 && !o.input ? in : width, classes, random.stream("scores", i), LinearOptions{}, site);
  }

  Tensor<T> operator()(const GraphBatch& batch, const Tensor<T>& features, ContextRef context,
                       Site site = Site::current()) const {
    const Named here("GraphClassifier", site);
    detail::check_parts("GraphClassifier", "scores", scores.size(), "layers and the features", layers.size() + 1, site);
    detail::check_rows_of("GraphClassifier", "features", features, batch.nodes(), "nodes", batch.graph, site);
    const Dropout drop{options.dropout};
    Tensor<T> x = input ? (*input)(features, site) : features;
    Tensor<T> sum = drop(scores[0](segment_sum(x, batch.offsets, site), site), context, site);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if constexpr (std::is_invocable_v<const Layer&, const GraphBatch&, const Tensor<T>&, ContextRef>)
        x = layers[i](batch, x, context);
      else
        x = layers[i](batch.graph, x, context);
      sum = sum + drop(scores[i + 1](segment_sum(x, batch.offsets, site), site), context, site);
    }
    return sum;
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
