#pragma once
// Weight-decomposed low-rank adaptation. Liu, Wang, Yin, Molchanov, Wang, Cheng, Chen, "DoRA: weight-decomposed
// low-rank adaptation", ICML 2024. Compared with the package PEFT, by whose code it is a norm for each output.

#include <string>
#include <utility>
#include <vector>

#include "graft/common/changed_weights.hpp"
#include "graft/common/needs.hpp"
#include "graft/model/init.hpp"

namespace graft {
inline namespace GRAFT_ABI {

/// Options of `dora`; rank and scale are PEFT's.
struct DoraOptions {
  Index rank = 8;
  double scale = 8;                      ///< the change is scale / rank times B A
  bool constant_norm = true;             ///< the norm counts as a constant in gradients, as the authors have it
  std::vector<std::string> layers = {};  ///< matrices, by whole parts of their names; empty: all
};

/// W -> m V / |V|, V = W + (scale / rank) B A, |V| the norm of each of its rows. A row of zeros stays one.
template <class T = float>
struct DecomposedLowRank {
  Tensor<T> a;          ///< [rank, in]
  Tensor<T> b;          ///< [out, rank]
  Tensor<T> magnitude;  ///< m, [out]
  DoraOptions options;
  GRAFT_FIELDS(a, b, magnitude)
  GRAFT_CONFIG(options)

  DecomposedLowRank() = default;
  /// A uniform in +-1 / sqrt(in), B zeros, m the norms of the rows of `weight` [out, in]: no change at first. Throws
  /// ValueError for a rank below 1 or a scale that is not finite.
  DecomposedLowRank(const Tensor<T>& weight, const Random& random, const DoraOptions& o = {},
                    Site site = Site::current())
      : options(o) {
    detail::check_count("dora", "rank", o.rank, 1, site);
    detail::check_option<T>("dora", "scale", o.scale, detail::Range::finite, site);
    a = torch_default_weight<T>({o.rank, weight.size(1)}, random, site);
    b = zeros<T>({weight.size(0), o.rank});
    magnitude = row_norms(weight.detach());
  }

  /// Of W [out, in].
  Tensor<T> operator()(const Tensor<T>& weight) const {
    const double factor = options.scale / static_cast<double>(options.rank);
    const Tensor<T> v = weight + static_cast<T>(factor) * matmul(b, a);
    const Tensor<T> norms = row_norms(options.constant_norm ? v.detach() : v);
    const Tensor<bool> some = norms > T(0);
    const Tensor<T> share = where(some, magnitude / where(some, norms, T(1)), T(1));
    return reshape(share, {share.count(), 1}) * v;
  }

 private:
  static Tensor<T> row_norms(const Tensor<T>& w) {
    const Tensor<T> squares = sum(square(w), {1});
    return where(squares > T(0), sqrt(where(squares > T(0), squares, T(1))), T(0));
  }
};

/// A model with decomposed weights; see `dora`.
template <Model M>
using DoraModel = ChangedWeights<M, DecomposedLowRank<ModelScalar<M>>>;

/// `model`, frozen, with each of the chosen matrices [out, in] taken apart into length and direction of its rows, and a
/// low-rank change of the directions. Called as the model is, and at first the same, bit for bit. All that is trained
/// are A, B and m: rank (in + out) + out numbers a matrix. Throws ValueError for a name that no matrix has, which lists
/// those there are, and for options outside their range.
template <Model M>
DoraModel<M> dora(const M& model, const Random& random, const DoraOptions& o = {}, Site site = Site::current()) {
  using T = ModelScalar<M>;
  const auto change_of = [&](const Tensor<T>& weight, Index number) {
    return DecomposedLowRank<T>(weight, random.stream("dora", number), o, site);
  };
  return detail::with_changes<DecomposedLowRank<T>>("dora", model, o.layers, change_of, site);
}

/// A way to tune (`TunerMethod`): `dora` of the body.
struct Dora {
  static constexpr DataNeeds needs{};
  static constexpr const char* name = "dora";
  DoraOptions options = {};

  template <Model M>
  DoraModel<M> start(const M& body, const Random& random, Site site = Site::current()) const {
    return dora(body, random, options, site);
  }
};

}  // namespace GRAFT_ABI
}  // namespace graft
