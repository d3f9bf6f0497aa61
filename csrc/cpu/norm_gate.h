// What the instruction-set independent part of normalised, gated fields hands to its kernels.
#pragma once

#include <stdint.h>

namespace meshconv {

// Columns of the input: plain scalars, gates, then the fields that are gated; of the output: the same without gates.
struct GateShape {
  int64_t scalars, gates, in_dim, out_dim;
  int64_t segments;                    // kinds of gated fields: odd scalars, and each order from 1 on
  int64_t count[33 + 1], parts[33 + 1];  // fields and components of one, of each kind
};

// One value per column of the input: what is subtracted, multiplied and added; the first and last only in scalars.
template <typename T>
struct GateColumns {
  const T *mean, *factor, *shift;
};

template <typename T>
struct GateKernels {
  // y = gate(factor (x - mean) + shift) (+ residual, if it is there), for `rows` rows.
  void (*apply)(const GateShape&, const GateColumns<T>&, const T* x, const T* residual, int64_t rows, T* y);
  // zero[c] += sum of p, one[c] += sum of p (x - mean), p the gradient at the gate's input for g at its output.
  void (*sums)(const GateShape&, const GateColumns<T>&, const T* x, const T* g, int64_t rows, T* zero, T* one);
  // dx = factor (p - constant - slope (x - mean)).
  void (*gradient)(const GateShape&, const GateColumns<T>&, const T* x, const T* g, const T* constant, const T* slope,
                   int64_t rows, T* dx);
  // Mean of the first `centred` columns, 0 of the others, and sums of squares about it.
  void (*moments)(const T* x, int64_t rows, int64_t dim, int64_t centred, T* mean, T* squares);
};

}  // namespace meshconv
