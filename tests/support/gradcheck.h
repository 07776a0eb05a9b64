#pragma once

#include <functional>
#include <vector>

#include "engine/autograd/variable.h"
#include "support/reference.h"

namespace ringlet::testing {

using Op = std::function<Variable(const std::vector<Variable>&)>;
using ReferenceOp = std::function<Array(const std::vector<Array>&)>;

struct GradcheckResult {
  double forward;                 // relative distance of the outputs
  std::vector<double> gradients;  // and of each input's gradient
  double worst() const;
};

// Compares an op with a double-precision reference: its output, and its
// backward with central differences of the reference, for the scalar
// sum(w * y) with fixed random weights w. Four-dimensional inputs are handed
// to the op in the backend's layout unless `plain` holds their index.
GradcheckResult gradcheck(const Op& op, const ReferenceOp& reference,
                          const std::vector<Array>& inputs,
                          const std::vector<std::size_t>& plain = {});

// A leaf in the backend's activation layout.
Variable activation(const Array& array);

}  // namespace ringlet::testing
