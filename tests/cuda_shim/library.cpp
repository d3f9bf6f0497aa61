// The CUDA operators as operators of the host, meshconv_on_fibers::NAME.
#include "../../csrc/operators.h"

#include <torch/csrc/stable/library.h>

#include "../../csrc/rows.h"
#include "faults.h"

namespace meshconv {

// As on a device, no index is looked at before a kernel follows it.
void check_edge_values(const char*, const Rows&) {}
void check_row_pointers(const char*, const char*, const int64_t*, int64_t, int64_t) {}

}  // namespace meshconv

#define MESHCONV_SCHEMA(name, schema) m.def(#name schema);
#define MESHCONV_ON_FIBERS(name, ...) m.impl(#name, TORCH_BOX(&meshconv::name##_cuda));

STABLE_TORCH_LIBRARY(meshconv_on_fibers, m) {
  MESHCONV_LAYER_OPERATORS(MESHCONV_SCHEMA)
  m.def("fault(Tensor x, str name) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(meshconv_on_fibers, CPU, m) {
  MESHCONV_LAYER_OPERATORS(MESHCONV_ON_FIBERS)
  m.impl("fault", TORCH_BOX(&meshconv::fault));
}
