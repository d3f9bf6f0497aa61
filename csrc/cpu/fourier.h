// What the instruction-set independent part of the Fourier nonlinearity hands to its kernels.
#pragma once

#include <stdint.h>

namespace meshconv {

constexpr int64_t kMaxParts = 65;  // components of orders 0 to 32

enum class Activation { relu, silu };

template <typename T>
struct FourierTable {
  int64_t parts, samples;
  const T* waves;  // [samples][parts]: 1, cos m phi_k, sin m phi_k
  const T* scale;  // [parts]: 1 / samples at order 0, 2 / samples above
};

// Rows [P, C] of features; x and out, and g and h where the derivative uses them, are laid out alike.
template <typename T>
struct FourierRows {
  const T *x, *g, *h;
  T* out;
  int64_t channels;
};

// Of the function itself (0), its first (1) and its second derivative (2), for rows [first, first + count).
template <typename T>
using FourierKernel = void (*)(Activation, int derivative, const FourierTable<T>&, const FourierRows<T>&,
                               int64_t first, int64_t count);

}  // namespace meshconv
