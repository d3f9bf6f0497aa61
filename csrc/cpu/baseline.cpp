// The kernels for any processor.
#include "isa.h"

#define MESHCONV_ISA baseline
#define MESHCONV_VECTOR_BYTES 16
#include "all_kernels.h"
