// The kernels of the Fourier nonlinearity for avx2.
#if defined(__x86_64__)
#include "fourier.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define MESHCONV_ISA avx2
#define MESHCONV_VECTOR_BYTES 32
#include "gemm.h"
#include "fourier_kernel.h"

namespace meshconv::avx2 {
FourierKernel<float> fourier_f32() { return fourier_kernel<float>; }
FourierKernel<double> fourier_f64() { return fourier_kernel<double>; }
}  // namespace meshconv::avx2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
