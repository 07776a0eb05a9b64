// In place of gloo_peer.cpp where Gloo was not found.
#include "bench/peers/gloo_peer.h"
#include "kernels/runtime/error.h"

namespace ringlet {

std::unique_ptr<Communicator> make_gloo_peer() {
  throw Error(
      "gloo: this program was built without Gloo; expected "
      "`scripts/setup libgloo-dev` before the build");
}

}  // namespace ringlet
