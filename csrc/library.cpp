// Every operator's schema, and the module entry that makes the library importable.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "checks.h"
#include "cpu/gauge_conv.h"
#include "operators.h"

// Shapes: B batch entries on one graph, V_src sources, V_dst targets, E edges, R radial functions, D feature lengths.
//   x [B, V_src, D_in], weight [R, D_in, D_out], radial [E, R], angle [E], transporter [E],
//   dst_ptr [V_dst + 1], src [E], dst [E], src_ptr [V_src + 1], src_edge [E]; types are multiplicities per order.
// With transpose the operator runs along the edges backwards (angle - transporter, -transporter) and x has V_dst rows:
// gauge_conv(transpose, weight^T) is the adjoint of gauge_conv. The three are closed under differentiation:
//   gauge_conv         y = sum_e sum_b radial_eb rho_out(angle) W_b^T rho_in(transporter - angle) x_src   [B, V_dst, D_out]
//   gauge_conv_weight  d<grad, y>/d weight   [R, D_in, D_out]
//   gauge_conv_edge    d<grad, y>/d radial   [E, R]
#define MESHCONV_GRAPH                                                                                   \
  "Tensor angle, Tensor transporter, Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, "           \
  "Tensor src_edge, int[] in_type, int[] out_type, bool transpose) -> Tensor"

STABLE_TORCH_LIBRARY(meshconv, m) {
  m.def("gauge_conv(Tensor x, Tensor weight, Tensor radial, " MESHCONV_GRAPH);
  m.def("gauge_conv_weight(Tensor x, Tensor grad, Tensor radial, " MESHCONV_GRAPH);
  m.def("gauge_conv_edge(Tensor x, Tensor grad, Tensor weight, " MESHCONV_GRAPH);
}

STABLE_TORCH_LIBRARY_IMPL(meshconv, CPU, m) {
  m.impl("gauge_conv", TORCH_BOX(&meshconv::gauge_conv_cpu));
  m.impl("gauge_conv_weight", TORCH_BOX(&meshconv::gauge_conv_weight_cpu));
  m.impl("gauge_conv_edge", TORCH_BOX(&meshconv::gauge_conv_edge_cpu));
}

#ifdef MESHCONV_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(meshconv, CUDA, m) {
  m.impl("gauge_conv", TORCH_BOX(&meshconv::gauge_conv_cuda));
  m.impl("gauge_conv_weight", TORCH_BOX(&meshconv::gauge_conv_weight_cuda));
  m.impl("gauge_conv_edge", TORCH_BOX(&meshconv::gauge_conv_edge_cuda));
}
#endif

namespace {

PyObject* build(PyObject*, PyObject*) {
#ifdef MESHCONV_WITH_CUDA
  return Py_BuildValue("{s:s,s:O}", "instruction_set", meshconv::instruction_set(), "cuda", Py_True);
#else
  return Py_BuildValue("{s:s,s:O}", "instruction_set", meshconv::instruction_set(), "cuda", Py_False);
#endif
}

PyMethodDef methods[] = {
    {"build", build, METH_NOARGS, "What this library was built with and what this processor uses of it."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__C(void) { return PyModule_Create(&module); }
