// The kernels for avx512.
#if defined(__x86_64__)
#include "isa.h"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma")
#endif

#define MESHCONV_ISA avx512
#define MESHCONV_VECTOR_BYTES 64
#include "all_kernels.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
