// The kernels of the Fourier nonlinearity for any processor.
#include "fourier.h"

#define MESHCONV_ISA baseline
#define MESHCONV_VECTOR_BYTES 16
#include "gemm.h"
#include "fourier_kernel.h"

namespace meshconv::baseline {
FourierKernel<float> fourier_f32() { return fourier_kernel<float>; }
FourierKernel<double> fourier_f64() { return fourier_kernel<double>; }
}  // namespace meshconv::baseline
