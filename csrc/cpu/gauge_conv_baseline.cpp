// The block kernels for any processor.
#include "gauge_conv.h"

#define MESHCONV_ISA baseline
#define MESHCONV_VECTOR_BYTES 16
#include "gemm.h"
#include "gauge_conv_kernel.h"

namespace meshconv::baseline {
const BlockKernels<float>& kernels_f32() { return kKernels<float>; }
const BlockKernels<double>& kernels_f64() { return kKernels<double>; }
}  // namespace meshconv::baseline
