// Arguments of the depthwise convolution, checked for every device.
#pragma once

#include "checks.h"

namespace meshconv {

// Both types have the same number of channels at every order.
inline int64_t check_channels(const char* op, const ConvTypes& types) {
  for (const auto* type : {&types.in, &types.out})
    for (int64_t count : *type)
      STD_TORCH_CHECK(count == types.in[0], op, ": types need one multiplicity at all orders, got ", show(types.in),
                      " and ", show(types.out));
  return types.in[0];
}

// [R, 2 N + 1, 2 M + 1, C]
inline Tensor check_depthwise_weight(const char* op, const ConvArguments& a, const Tensor& weight, int64_t radial) {
  STD_TORCH_CHECK(radial >= 1, op, ": at least one radial function is needed, got ", radial);
  const int64_t in = 2 * static_cast<int64_t>(a.types.in.size()) - 1;
  const int64_t out = 2 * static_cast<int64_t>(a.types.out.size()) - 1;
  return check_tensor(op, "weight", weight, a.x, false, {radial, in, out, check_channels(op, a.types)});
}

}  // namespace meshconv
