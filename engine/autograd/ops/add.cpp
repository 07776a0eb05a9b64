#include "engine/autograd/ops.h"
#include "engine/autograd/ops/shapes.h"

namespace ringlet {

Variable add(const Variable& a, const Variable& b) {
  RINGLET_CHECK(a.data().shape() == b.data().shape() &&
                    a.data().layout() == b.data().layout() &&
                    a.data().dtype() == b.data().dtype(),
                "add of {} and {}", to_string(a.data().shape()),
                to_string(b.data().shape()));
  Tensor y(a.data().shape(), a.data().dtype(), a.data().layout(),
           a.data().device());
  backend(y.device())
      .elementwise.add(y.storage_count(), y.dtype(), a.data().raw(),
                       b.data().raw(), y.raw());
  return make_result(
      "add", y, {a, b},
      [a = a.without_value(), b = b.without_value()](const Tensor& dy) {
        for (const Variable& input : {a, b}) {
          GradSink dinput(input);
          dinput.share(dy);
          dinput.deliver();
        }
      });
}

}  // namespace ringlet
