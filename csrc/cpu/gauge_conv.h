// What the instruction-set independent part of the CPU convolution hands to its block kernels.
#pragma once

#include <stdint.h>

#include "../rows.h"

namespace meshconv {

constexpr int kMaxOrders = 33;  // orders 0 to 32

// The types, and the layout of the buffers that follows from them.
struct ConvShape {
  int64_t radial;                    // R
  int64_t in_orders, out_orders;     // highest order + 1
  int64_t in_count[kMaxOrders], out_count[kMaxOrders];
  int64_t in_start[kMaxOrders], out_start[kMaxOrders];
  int64_t in_dim, out_dim;
  int64_t parts;                     // J = 2 M + 1
  int64_t panel;                     // columns of a packed panel: two vectors
  int64_t in_padded, grad_padded;    // row strides of scratch, whole panels
  int64_t packed_start[kMaxOrders];  // where the packed weights of an output order begin
  int64_t rows_per_source;           // R (2 N + 1), product first: rows of length D_out that a source's product has
};

template <typename T>
struct Scratch {
  T *turned, *weights, *moments, *product;
};

template <typename T>
struct BlockKernels {
  int64_t lanes;
  void (*conv)(const ConvShape&, const ConvRows<T>&, const T* x, const T* packed, int64_t first, int64_t count, T* y,
               Scratch<T>);
  void (*multiply)(const ConvShape&, const T* x, const T* packed, int64_t count, T* products, Scratch<T>);
  void (*collect)(const ConvShape&, const ConvRows<T>&, const T* products, int64_t first, int64_t count, T* y,
                  Scratch<T>);
  void (*weight)(const ConvShape&, const ConvRows<T>&, const T* x, const T* grad, int64_t first, int64_t count,
                 T* weight_grad, Scratch<T>);
  void (*edge)(const ConvShape&, const ConvRows<T>&, const T* x, const T* grad, const T* packed, int64_t first,
               int64_t count, T* radial_grad, Scratch<T>);
  // Adds x point to y, order by order, for `count` rows.
  void (*point)(const ConvShape&, const T* x, const T* packed, int64_t count, T* y);
};

}  // namespace meshconv
