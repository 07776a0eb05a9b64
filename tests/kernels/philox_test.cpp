#include "kernels/runtime/philox.h"

#include "support/catch.h"

using namespace ringlet;

// The known answers of Random123's kat_vectors for philox4x32-10.
TEST_CASE("Philox gives the published numbers") {
  CHECK(philox(0, {0, 0, 0, 0}) ==
        PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox(~0ull, {~0u, ~0u, ~0u, ~0u}) ==
        PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox(0x299f31d0a4093822,
               {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}) ==
        PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}
