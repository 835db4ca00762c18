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

/// The arrays that both sides start from. Single numbers are arrays of rank 0.
class Inputs {
 public:
  explicit Inputs(std::map<std::string, graft::Array> arrays) : arrays_(std::move(arrays)) {}

  template <class T = float>
  Tensor<T> tensor(const std::string& name) const {
    const graft::Array& array = arrays_.at(name);
    return graft::from_vector(array.converted<T>(), array.shape);
  }
  Index number(const std::string& name) const { return arrays_.at(name).converted<Index>().at(0); }
  double real(const std::string& name) const { return arrays_.at(name).converted<double>().at(0); }

 private:
  std::map<std::string, graft::Array> arrays_;
};

/// What the other side must also get.
using Results = std::map<std::string, graft::Array>;

inline graft::Array array_of(const Tensor<float>& x) { return graft::make_array(x.span(), x.shape()); }

/// One piece of work, ready to run.
struct Work {
  std::function<void()> step;        ///< one repetition: all that is timed
  std::function<Results()> results;  ///< of the first repetition
};

/// Adds `make` under the name `kind` to those that the program can be asked for.
bool add_work(const std::string& kind, std::function<Work(const Inputs&)> make);

}  // namespace peers
