// The block kernels for avx2.
#if defined(__x86_64__)
#include "gauge_conv.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define MESHCONV_ISA avx2
#define MESHCONV_VECTOR_BYTES 32
#include "gemm.h"
#include "gauge_conv_kernel.h"

namespace meshconv::avx2 {
const BlockKernels<float>& kernels_f32() { return kKernels<float>; }
const BlockKernels<double>& kernels_f64() { return kKernels<double>; }
}  // namespace meshconv::avx2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
