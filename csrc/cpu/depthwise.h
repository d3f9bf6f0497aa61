// What the instruction-set independent part of the depthwise convolution hands to its row kernels.
#pragma once

#include "gauge_conv.h"

namespace meshconv {

// In ConvShape every order has the same number of channels; scratch.product is not used.
template <typename T>
struct DepthwiseKernels {
  int64_t lanes;
  void (*conv)(const ConvShape&, const ConvRows<T>&, const T* x, const T* weight, int64_t row, T* y, Scratch<T>);
  void (*weight)(const ConvShape&, const ConvRows<T>&, const T* x, const T* grad, int64_t row, T* weight_grad,
                 Scratch<T>);
  void (*edge)(const ConvShape&, const ConvRows<T>&, const T* x, const T* grad, const T* weight, int64_t row,
               T* radial_grad, Scratch<T>);
};

}  // namespace meshconv
