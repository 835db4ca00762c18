#pragma once
// The C++ half of the comparison with other libraries: pieces of work by name, made from arrays in a file, whose
// results are compared with the other side's before anything is timed. worker.cpp is the program around it.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "graft/core/tensor.hpp"
#include "graft/io/npz.hpp"

namespace peers {

using graft::Index;
using graft::Shape;
using graft::Tensor;

/// The arrays that both sides start from, turned into tensors once and then shared, as the others share NumPy's. Those
/// of rank 0 are single numbers too.
class Inputs {
 public:
  explicit Inputs(std::map<std::string, graft::Array> arrays) {
    for (auto& [name, array] : arrays) {
      if (array.shape.rank() == 0) numbers_.emplace(name, array);
      if (array.dtype[1] == 'f')
        floats_.emplace(name, graft::from_vector(array.converted<float>(), array.shape));
      else
        integers_.emplace(name, graft::from_vector(array.converted<std::int64_t>(), array.shape));
      array = {};
    }
  }

  template <class T = float>
  Tensor<T> tensor(const std::string& name) const {
    if constexpr (std::is_same_v<T, float>)
      return floats_.at(name);
    else
      return integers_.at(name);
  }
  Index number(const std::string& name) const { return numbers_.at(name).converted<Index>().at(0); }
  double real(const std::string& name) const { return numbers_.at(name).converted<double>().at(0); }

 private:
  std::map<std::string, graft::Array> numbers_;
  std::map<std::string, Tensor<float>> floats_;
  std::map<std::string, Tensor<std::int64_t>> integers_;
};

/// What the other side must also get.
using Results = std::map<std::string, Tensor<float>>;

/// One piece of work, ready to run.
struct Work {
  std::function<void()> step;        ///< one repetition: all that is timed
  std::function<Results()> results;  ///< of the first repetition
};

/// Adds `make` under the name `kind` to those that the program can be asked for.
bool add_work(const std::string& kind, std::function<Work(const Inputs&)> make);

}  // namespace peers
