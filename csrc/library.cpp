// Every operator's schema, and the module entry that makes the library importable.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "checks.h"
#include "cpu/isa.h"
#include "operators.h"

// Shapes: B batch entries on one graph, V_src sources, V_dst targets, E edges, R radial functions, D feature lengths.
//   x [B, V_src, D_in], weight [R, D_in, D_out], radial [E, R], angle [E], transporter [E],
//   dst_ptr [V_dst + 1], src [E], dst [E], src_ptr [V_src + 1], src_edge [E]; types are multiplicities per order.
// With transpose the operator runs along the edges backwards (angle - transporter, -transporter) and x has V_dst rows:
// gauge_conv(transpose, weight^T) is the adjoint of gauge_conv. The three are closed under differentiation:
//   gauge_conv         y = sum_e sum_b radial_eb rho_out(angle) W_b^T rho_in(transporter - angle) x_src   [B, V_dst, D_out]
//   gauge_conv_weight  d<grad, y>/d weight   [R, D_in, D_out]
//   gauge_conv_edge    d<grad, y>/d radial   [E, R]
// geodesics: V vertices, H half-edges (three per face), E edges of the one-ring graph, N members of all neighbourhoods.
//   points [V, 3], frames [V, 3, 3], origin [H], twin [H], corner [H], fan_angle [H], total [V], scale [V], kind [V],
//   ring_ptr [V + 1], ring_src [E], ring_radius [E], ring_angle [E], ring_transporter [E]
//   -> ptr [V + 1], src [N], log_radius [N], log_angle [N], transporter [N]
#define MESHCONV_GRAPH                                                                                   \
  "Tensor angle, Tensor transporter, Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, "           \
  "Tensor src_edge, int[] in_type, int[] out_type, bool transpose) -> Tensor"

// Transport and reduce, over the members e of a row (edges of a graph, or points of a cluster), arguments as above;
// weight [B or 1, E, H], H heads that each own the same number of channels of every order. The adjoint of
// transport_sum is itself with transpose, that of transport_select as well.
//   transport_sum      y = sum_e weight_e rho(transporter) x_src                                [B, V_dst, D]
//   transport_dot      <y_dst, rho(transporter) x_src> per head                                 [B, E, H]
//   transport_argmax   the member whose field is longest, int64, -1 in empty rows               [B, V_dst, fields]
//   transport_select   y = rho(transporter) x_src of the member `chosen` for each field         [B, V_dst, D]
//   segment_softmax    over the members of each row, logits [B, E, H], ptr [rows + 1]           [B, E, H]
//   segment_total      each member gets the sum over its row                                    [B, E, H]
#define MESHCONV_MEMBERS "Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, Tensor src_edge, int[] type, "

// Fourier nonlinearity of x [rows, 2 M + 1, channels] and its derivatives, see cpu/fourier_kernel.h:
//   fourier_act            s F_0(x),   fourier_act_grad   F_1(x; s grad),   fourier_act_curvature   F_2(x; s grad, grad_grad)

STABLE_TORCH_LIBRARY(meshconv, m) {
  m.def("gauge_conv(Tensor x, Tensor weight, Tensor radial, " MESHCONV_GRAPH);
  m.def("gauge_conv_weight(Tensor x, Tensor grad, Tensor radial, " MESHCONV_GRAPH);
  m.def("gauge_conv_edge(Tensor x, Tensor grad, Tensor weight, " MESHCONV_GRAPH);
  m.def(
      "geodesics(Tensor points, Tensor frames, Tensor origin, Tensor twin, Tensor corner, Tensor fan_angle, "
      "Tensor total, Tensor scale, Tensor kind, Tensor ring_ptr, Tensor ring_src, Tensor ring_radius, "
      "Tensor ring_angle, Tensor ring_transporter, int rings, float radius, int nearest) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("transport_sum(Tensor x, Tensor weight, Tensor transporter, " MESHCONV_MEMBERS "bool transpose) -> Tensor");
  m.def("transport_dot(Tensor x, Tensor y, Tensor transporter, " MESHCONV_MEMBERS "int heads) -> Tensor");
  m.def("transport_argmax(Tensor x, " MESHCONV_MEMBERS "bool signed_scalars) -> Tensor");
  m.def("transport_select(Tensor x, Tensor chosen, Tensor transporter, " MESHCONV_MEMBERS "bool transpose) -> Tensor");
  m.def("segment_softmax(Tensor logits, Tensor ptr) -> Tensor");
  m.def("segment_total(Tensor values, Tensor ptr) -> Tensor");
  m.def("fourier_act(Tensor x, int samples, str activation) -> Tensor");
  m.def("fourier_act_grad(Tensor x, Tensor grad, int samples, str activation) -> Tensor");
  m.def("fourier_act_curvature(Tensor x, Tensor grad, Tensor grad_grad, int samples, str activation) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(meshconv, CPU, m) {
  m.impl("gauge_conv", TORCH_BOX(&meshconv::gauge_conv_cpu));
  m.impl("gauge_conv_weight", TORCH_BOX(&meshconv::gauge_conv_weight_cpu));
  m.impl("gauge_conv_edge", TORCH_BOX(&meshconv::gauge_conv_edge_cpu));
  m.impl("geodesics", TORCH_BOX(&meshconv::geodesics_cpu));
  m.impl("transport_sum", TORCH_BOX(&meshconv::transport_sum_cpu));
  m.impl("transport_dot", TORCH_BOX(&meshconv::transport_dot_cpu));
  m.impl("transport_argmax", TORCH_BOX(&meshconv::transport_argmax_cpu));
  m.impl("transport_select", TORCH_BOX(&meshconv::transport_select_cpu));
  m.impl("segment_softmax", TORCH_BOX(&meshconv::segment_softmax_cpu));
  m.impl("segment_total", TORCH_BOX(&meshconv::segment_total_cpu));
  m.impl("fourier_act", TORCH_BOX(&meshconv::fourier_act_cpu));
  m.impl("fourier_act_grad", TORCH_BOX(&meshconv::fourier_act_grad_cpu));
  m.impl("fourier_act_curvature", TORCH_BOX(&meshconv::fourier_act_curvature_cpu));
}

#ifdef MESHCONV_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(meshconv, CUDA, m) {
  m.impl("gauge_conv", TORCH_BOX(&meshconv::gauge_conv_cuda));
  m.impl("gauge_conv_weight", TORCH_BOX(&meshconv::gauge_conv_weight_cuda));
  m.impl("gauge_conv_edge", TORCH_BOX(&meshconv::gauge_conv_edge_cuda));
  m.impl("transport_sum", TORCH_BOX(&meshconv::transport_sum_cuda));
  m.impl("transport_dot", TORCH_BOX(&meshconv::transport_dot_cuda));
  m.impl("transport_argmax", TORCH_BOX(&meshconv::transport_argmax_cuda));
  m.impl("transport_select", TORCH_BOX(&meshconv::transport_select_cuda));
  m.impl("segment_softmax", TORCH_BOX(&meshconv::segment_softmax_cuda));
  m.impl("segment_total", TORCH_BOX(&meshconv::segment_total_cuda));
  m.impl("fourier_act", TORCH_BOX(&meshconv::fourier_act_cuda));
  m.impl("fourier_act_grad", TORCH_BOX(&meshconv::fourier_act_grad_cuda));
  m.impl("fourier_act_curvature", TORCH_BOX(&meshconv::fourier_act_curvature_cuda));
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
