// The instruction sets that CPU kernels are compiled for, and the kernels of the one that this processor gets.
#pragma once

#include "depthwise.h"
#include "fourier.h"
#include "gauge_conv.h"
#include "norm_gate.h"

namespace meshconv {

enum class Isa { baseline, avx2, avx512 };

// The newest that the processor has, no newer than the environment variable MESHCONV_INSTRUCTIONS names, if it is set.
Isa isa();
const char* instruction_set();

template <typename T>
struct Kernels {
  BlockKernels<T> conv;
  FourierKernel<T> fourier;
  DepthwiseKernels<T> depthwise;
  GateKernels<T> gate;
};

#define MESHCONV_DECLARE(isa)     \
  namespace isa {                 \
  template <typename T>           \
  const Kernels<T>& kernels();    \
  }
MESHCONV_DECLARE(baseline)
#if defined(__x86_64__)
MESHCONV_DECLARE(avx2)
MESHCONV_DECLARE(avx512)
#endif
#undef MESHCONV_DECLARE

template <typename T>
const Kernels<T>& best_kernels() {
#if defined(__x86_64__)
  if (isa() == Isa::avx512) return avx512::kernels<T>();
  if (isa() == Isa::avx2) return avx2::kernels<T>();
#endif
  return baseline::kernels<T>();
}

}  // namespace meshconv
