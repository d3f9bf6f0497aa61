// Every kernel that is compiled once per instruction set: the including file defines MESHCONV_ISA (a namespace) and
// MESHCONV_VECTOR_BYTES, switches the compiler's target, and has included isa.h before that.
// No standard header may be included below that switch: an inline function of the library compiled for a newer
// instruction set could be the copy that the linker keeps for everybody.
#pragma once

#include "gemm.h"

#include "fourier_kernel.h"
#include "rotations.h"
#include "gauge_conv_kernel.h"
#include "depthwise_kernel.h"
#include "norm_gate_kernel.h"

namespace meshconv::MESHCONV_ISA {

template <typename T>
const Kernels<T>& kernels() {
  static constexpr Kernels<T> all{kConvKernels<T>, fourier_kernel<T>, kDepthwiseKernels<T>,
                                  kGateKernels<T>};
  return all;
}
template const Kernels<float>& kernels<float>();
template const Kernels<double>& kernels<double>();

}  // namespace meshconv::MESHCONV_ISA
