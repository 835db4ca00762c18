#pragma once
// Automated relational meta-learning. Yao, Wu, Tao, Li, Ding, Li, Li, "Automated relational meta-learning", ICLR 2020,
// Algorithm 1: the class prototypes of a task, linked by their likeness, hear from a graph of learned knowledge; what
// comes out gates the initial parameters, from which gradient steps go as in MAML.
//
// The paper leaves open what encodes prototypes ("recurrent network, fully connected layers"); its results have a GRU
// over the classes in turn. Here it is a layer on each prototype, so that the order of the classes does not matter.

#include <algorithm>
#include <cmath>

#include "graft/common/inner_loop.hpp"
#include "graft/nn/linear.hpp"
#include "graft/ops/matmul.hpp"
#include "graft/ops/prototypes.hpp"
#include "graft/ops/softmax.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Sizes of an `Arml`. The defaults are the authors' for images.
struct ArmlOptions {
  Index width = 128;     ///< of the embedding that prototypes are means of
  Index vertices = 8;    ///< of the knowledge graph
  Index hidden = 128;    ///< of each of the two task representations
  double sigma = 8;      ///< gamma_s^2 of equation 6: what squared distances to vertices are divided by, twice
  double gate_bias = 0;  ///< of the gates at first: they start about sigmoid of it, at 1/2; a large one is MAML
};

/// An auto-encoder of single items, x -> tanh(W x + b) -> W' h + b'; a set's code is the mean of its items' codes.
template <class T = float>
struct PrototypeEncoder {
  Linear<T> encoder, decoder;
  GRAFT_FIELDS(encoder, decoder)

  PrototypeEncoder() = default;
  PrototypeEncoder(Index width, Index hidden, const Random& random, Site site = Site::current())
      : encoder(width, hidden, random.stream("encoder"), {}, site),
        decoder(hidden, width, random.stream("decoder"), {}, site) {}

  /// The code [hidden] of x [items, width], and the mean squared error of its reconstruction, [].
  std::pair<Tensor<T>, Tensor<T>> operator()(const Tensor<T>& x) const {
    const Tensor<T> codes = tanh(encoder(x));
    return {mean(codes, {0}), mean(square(x - decoder(codes)))};
  }
};

/// What an `Arml` makes of a support set.
template <class T>
struct ArmlTask {
  Tensor<T> representation;  ///< [2 hidden]: t, of the prototypes that have heard, and q, of the prototypes themselves
  Tensor<T> heard, own;      ///< [], the reconstruction errors L_t and L_q
  GRAFT_FIELDS(representation, heard, own)
};

/// A model `theta` with gates on its parameters, and what computes them:
///   C = class means of embedding(x)                                                                    (equation 2)
///   A_R = sigmoid(w_r |c_j - c_m| + b_r) among prototypes, A_G the same among the vertices H           (4 and 5)
///   A_S = softmax over vertices of -|c_j - h_m|^2 / (2 sigma)                                          (6)
///   C' = first rows of tanh(D^-1 (A + 1) [C; H] W + b), A = [A_R A_S; A_S^T A_G], D its row sums       (7)
///   gates = sigmoid(W_g [mean code of C'; mean code of C] + b_g), one a parameter of theta             (8 to 10)
/// A_R and A_G have zeros on the diagonal, as in the authors' program. The gates cost (2 hidden + 1) numbers a
/// parameter of `theta`. `embedding(x, context)` or `embedding(x)` -> [items, width] is a model of its own.
template <class M, class Embedding, class T = ModelScalar<M>>
struct Arml {
  M theta;
  Embedding embedding;
  Tensor<T> vertices;              ///< [vertices, width]
  Linear<T> relation, knowledge;   ///< width -> 1, of A_R and of A_G
  Linear<T> propagation;           ///< width -> width
  PrototypeEncoder<T> heard, own;  ///< of C' and of C
  Linear<T> gates;                 ///< 2 hidden -> numbers of theta
  ArmlOptions options;
  GRAFT_FIELDS(theta, embedding, vertices, relation, knowledge, propagation, heard, own, gates)
  GRAFT_CONFIG(options)

  Arml() = default;
  Arml(M initial, Embedding embeds, const Random& random, const ArmlOptions& o = {}, Site site = Site::current())
      : theta(std::move(initial)), embedding(std::move(embeds)), options(o) {
    if (o.width < 1 || o.vertices < 1 || o.hidden < 1)
      fail("Arml", {"width ", o.width, ", ", o.vertices, " vertices, ", o.hidden, " hidden numbers"}, {}, site);
    detail::check_option<T>("Arml", "sigma", o.sigma, detail::Range::positive, site);
    detail::check_option<T>("Arml", "gate_bias", o.gate_bias, detail::Range::finite, site);
    if (count(theta) < 1) fail("Arml", "theta has no parameters", {}, site);
    vertices = symmetric_uniform<T>({o.vertices, o.width}, std::sqrt(6.0 / static_cast<double>(1 + o.width)),
                                    random.stream("vertices"), site);
    const auto linear = [&](Index in, Index out, const char* name) {
      return Linear<T>(in, out, random.stream(name), {}, site);
    };
    relation = linear(o.width, 1, "relation");
    knowledge = linear(o.width, 1, "knowledge");
    propagation = linear(o.width, o.width, "propagation");
    heard = PrototypeEncoder<T>(o.width, o.hidden, random.stream("heard"), site);
    own = PrototypeEncoder<T>(o.width, o.hidden, random.stream("own"), site);
    gates = linear(2 * o.hidden, count(theta), "gates");
    gates.bias = full<T>({count(theta)}, static_cast<T>(o.gate_bias));
  }

  /// The adjacency A [ways + vertices, ways + vertices] of prototypes [ways, width] and the vertices.
  Tensor<T> super_graph(const Tensor<T>& prototypes, Site site = Site::current()) const {
    const Named here("Arml", site);
    const Tensor<T> links =
        softmax(squared_distances(prototypes, vertices, site) / static_cast<T>(-2 * options.sigma), 1, site);
    return concat<T>({concat<T>({likeness(prototypes, relation), links}, 1),
                      concat<T>({transpose(links), likeness(vertices, knowledge)}, 1)},
                     0, site);
  }

  /// C' [ways, width]: the prototypes after they have heard from each other and from the vertices.
  Tensor<T> propagated(const Tensor<T>& prototypes, Site site = Site::current()) const {
    const Named here("Arml", site);
    const Tensor<T> nodes = concat<T>({prototypes, vertices}, 0, site);
    const Tensor<T> adjacency = super_graph(prototypes, site) + eye<T>(nodes.size(0));
    const Tensor<T> averaged = matmul(adjacency, nodes) / sum(adjacency, {1}, true);
    return slice(tanh(propagation(averaged)), 0, 0, prototypes.size(0));
  }

  /// Throws ShapeError, IndexError for a label out of range, ValueError for a class without an item.
  ArmlTask<T> represent(const LabelledSet<T>& support, Index ways, ContextRef context,
                        Site site = Site::current()) const {
    const Named here("Arml", site);
    const Tensor<T> x = answer_of(embedding, support.x, context);
    detail::check_embedded("Arml", Episode<T>{{x, support.y}, {x, {}}, ways}, options.width, site);
    const Tensor<T> c = prototypes(x, support.y, ways, site);
    const auto [t, error_t] = heard(propagated(c, site));
    const auto [q, error_q] = own(c);
    return {concat<T>({t, q}, 0), error_t, error_q};
  }

  /// theta with every number times its gate. Frozen parameters stay as they are.
  M gated(const ArmlTask<T>& task) const {
    const Tensor<T> all = sigmoid(gates(task.representation));
    Index at = 0;
    return zip(
        [&]<class U>(const Tensor<U>& leaf) {
          const Tensor<T> part = slice(all, 0, at, at + leaf.count());
          at += leaf.count();
          return leaf.frozen() ? leaf : leaf * cast<U>(reshape(part, leaf.shape()));
        },
        theta);
  }

 private:
  /// sigmoid(w |x_j - x_m| + b) off the diagonal, 0 on it: x [n, width] -> [n, n].
  static Tensor<T> likeness(const Tensor<T>& x, const Linear<T>& map) {
    const Index n = x.size(0), width = x.size(1);
    const Tensor<T> apart = abs(reshape(x, {n, 1, width}) - reshape(x, {1, n, width}));
    return sigmoid(reshape(map(apart), {n, n})) * (T(1) - eye<T>(n));
  }
};
template <class M, class Embedding>
Arml(M, Embedding, const Random&, const ArmlOptions& = {}) -> Arml<M, Embedding>;

/// The inner loop and the loss of `ArmlMethod`. The defaults are the authors' for images.
struct ArmlMethodOptions {
  double alpha = 0.01;       ///< inner learning rate
  int steps = 5;             ///< inner gradient steps
  bool first_order = false;  ///< inner gradients count as constants
  double heard = 0.01;       ///< weight mu_1 of the reconstruction error L_t
  double own = 0.01;         ///< weight mu_2 of L_q
};

/// The few-shot method (common/few_shot.hpp) of an `Arml` whose theta answers `loss(theta, set, context)`.
template <class Loss = ClassificationLoss>
struct ArmlMethod {
  static constexpr Needs needs{.derivatives = 2, .any_ways = false};
  ArmlMethodOptions options = {};
  Loss loss = {};

  /// The query loss after `steps` gradient steps on the support from the gated parameters, and the weighted
  /// reconstruction errors (equation 11). Throws ValueError for options out of range, and when a support loss or the
  /// result is not finite.
  template <class M, class Embedding, class T>
  Tensor<T> train_loss(const Arml<M, Embedding, T>& model, const Episode<T>& episode, ContextRef context,
                       Site site = Site::current()) const {
    const auto [phi, task] = adapted(model, episode.support, episode.ways, context, site);
    const Tensor<T> total = loss(phi, episode.query, context) + static_cast<T>(options.heard) * task.heard +
                            static_cast<T>(options.own) * task.own;
    return detail::finite_query("ArmlMethod", total, options.steps, site);
  }

  /// Throws as `train_loss`, and ValueError when an adapted parameter is not finite.
  template <class M, class Embedding, class T>
  AdaptedModel<M> adapt(const Arml<M, Embedding, T>& model, const LabelledSet<T>& support, const Tensor<T>& = {},
                        ContextRef context = Context(), Site site = Site::current()) const {
    M phi = adapted(model, support, ways_of(support.y, site), context, site).first;
    return {detail::finite_model("ArmlMethod", std::move(phi), options.steps, site)};
  }

 private:
  template <class M, class Embedding, class T>
  std::pair<M, ArmlTask<T>> adapted(const Arml<M, Embedding, T>& model, const LabelledSet<T>& support, Index ways,
                                    ContextRef context, Site site) const {
    detail::check_option<T>("ArmlMethod", "heard", options.heard, detail::Range::not_negative, site);
    detail::check_option<T>("ArmlMethod", "own", options.own, detail::Range::not_negative, site);
    detail::check_option<T>("ArmlMethod", "alpha", options.alpha, detail::Range::finite, site);
    detail::check_count("ArmlMethod", "steps", options.steps, 0, site);
    const Named here("ArmlMethod", site);
    const ArmlTask<T> task = model.represent(support, ways, context, site);
    int step = 0;
    const auto support_loss = [&](const M& phi) {
      return detail::finite_support("ArmlMethod", loss(phi, support, context), step++, site);
    };
    const DescentOptions inner{options.alpha, options.steps, options.first_order};
    return {detail::descend("ArmlMethod", support_loss, model.gated(task), inner, site), task};
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
