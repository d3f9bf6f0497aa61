// The kernels for avx2.
#if defined(__x86_64__)
#include "isa.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define MESHCONV_ISA avx2
#define MESHCONV_VECTOR_BYTES 32
#include "all_kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
