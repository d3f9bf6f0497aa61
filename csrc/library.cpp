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
// depthwise_conv and its derivatives: the same with C fields of every order and kernels of one channel,
//   weight [R, 2 N + 1, 2 M + 1, C]
#define MESHCONV_GRAPH                                                                                   \
  "Tensor angle, Tensor transporter, Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, "           \
  "Tensor src_edge, int[] in_type, int[] out_type, bool transpose) -> Tensor"

// Geodesics: V vertices, H half-edges (three per face), E edges of the one-ring graph. The surface is a list of
//   points [V, 3], frames [V, 3, 3], origin [H], twin [H], corner [H], fan_angle [H], total [V], scale [V], kind [V],
//   ring_ptr [V + 1], ring_src [E], ring_radius [E], ring_angle [E], ring_transporter [E].
// N members of all neighbourhoods, L levels with counts[l] of the first n = max(counts) farthest points, T targets:
//   geodesics        ptr [V + 1], src [N], log_radius [N], log_angle [N], transporter [N]
//   farthest_points  rank [V], from which ties are taken in order: points [n], distance [L, V], nearest point [L, V]
//   geodesic_cells   of each centre [n] the targets target[target_ptr[c]:target_ptr[c + 1]] with bounds of the distance
//                    [T]: log_radius, log_angle, transporter [3, T]; the nearest centre of each vertex [V], with the
//                    same [3, V]; all vertices within `radius` of a centre are looked at, -1 elsewhere
#define MESHCONV_SURFACE "Tensor[] surface, "

// Triangles, F faces, H = 3 F half-edges, E undirected edges, ptr [V + 1] and outgoing [H] the half-edges that leave each
// vertex; ring_ptr [V + 1], src, reverse, direction [2 E] the one-ring graph by target; float64 and int64, flags bool:
//   half_edges      twin [H], edge [E], irregular [V], ptr, outgoing, and whether no face is degenerate or duplicate
//   signed_volume   enclosed volume, positive if normals point outward
//   face_geometry   corner [F, 3], unit normal [F, 3] (0 without area), area [F]
//   vertex_geometry reference [V], fan_angle [H], total [V], scale [V], regular [V], is_boundary [V], normals [V, 3],
//                   areas [V]
//   one_ring        ring_ptr, src, reverse, direction
//   aligned_frames  frames [V, 3, 3]
//   levi_civita, normal_aligning   log_radius, log_angle, transporter, one for each edge

// Quadrature over a point's neighbours, V points, E edges by target, B radial functions, J moments; float64:
//   matched_weights   ptr [V + 1], radius [E] of the disc's, angle [E], share [E, B], target [V, B, J]:
//                     factor of each share [E, B], largest moment that is missed over the mass [V, B]

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
  m.def("depthwise_conv(Tensor x, Tensor weight, Tensor radial, " MESHCONV_GRAPH);
  m.def("depthwise_conv_weight(Tensor x, Tensor grad, Tensor radial, " MESHCONV_GRAPH);
  m.def("depthwise_conv_edge(Tensor x, Tensor grad, Tensor weight, " MESHCONV_GRAPH);
  m.def("geodesics(" MESHCONV_SURFACE "int rings, float radius, int nearest) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("farthest_points(" MESHCONV_SURFACE "Tensor rank, int[] counts) -> (Tensor, Tensor, Tensor)");
  m.def(
      "geodesic_cells(" MESHCONV_SURFACE "Tensor centres, Tensor target_ptr, Tensor target, Tensor bound, float radius) "
      "-> (Tensor, Tensor, Tensor)");
  m.def("half_edges(Tensor faces, int num_vertices) -> (Tensor, Tensor, Tensor, Tensor, Tensor, bool)");
  m.def("signed_volume(Tensor points, Tensor faces) -> float");
  m.def("face_geometry(Tensor points, Tensor faces) -> (Tensor, Tensor, Tensor)");
  m.def(
      "vertex_geometry(Tensor twin, Tensor irregular, Tensor ptr, Tensor outgoing, Tensor corner, Tensor face_normal, "
      "Tensor face_area) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "one_ring(Tensor faces, Tensor twin, Tensor edge, Tensor corner, Tensor fan_angle, Tensor scale) "
      "-> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "aligned_frames(Tensor points, Tensor normals, Tensor faces, Tensor reference, Tensor regular, Tensor ring_ptr, "
      "Tensor src, Tensor direction) -> Tensor");
  m.def(
      "levi_civita(Tensor points, Tensor frames, Tensor regular, Tensor ring_ptr, Tensor src, Tensor reverse, "
      "Tensor direction) -> (Tensor, Tensor, Tensor)");
  m.def("normal_aligning(Tensor points, Tensor frames, Tensor src, Tensor dst) -> (Tensor, Tensor, Tensor)");
  m.def(
      "matched_weights(Tensor ptr, Tensor radius, Tensor angle, Tensor share, Tensor target, int max_frequency, float low, "
      "float high) -> (Tensor, Tensor)");
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
  m.impl("depthwise_conv", TORCH_BOX(&meshconv::depthwise_conv_cpu));
  m.impl("depthwise_conv_weight", TORCH_BOX(&meshconv::depthwise_conv_weight_cpu));
  m.impl("depthwise_conv_edge", TORCH_BOX(&meshconv::depthwise_conv_edge_cpu));
  m.impl("geodesics", TORCH_BOX(&meshconv::geodesics_cpu));
  m.impl("farthest_points", TORCH_BOX(&meshconv::farthest_points_cpu));
  m.impl("geodesic_cells", TORCH_BOX(&meshconv::geodesic_cells_cpu));
  m.impl("half_edges", TORCH_BOX(&meshconv::half_edges_cpu));
  m.impl("signed_volume", TORCH_BOX(&meshconv::signed_volume_cpu));
  m.impl("face_geometry", TORCH_BOX(&meshconv::face_geometry_cpu));
  m.impl("vertex_geometry", TORCH_BOX(&meshconv::vertex_geometry_cpu));
  m.impl("one_ring", TORCH_BOX(&meshconv::one_ring_cpu));
  m.impl("aligned_frames", TORCH_BOX(&meshconv::aligned_frames_cpu));
  m.impl("levi_civita", TORCH_BOX(&meshconv::levi_civita_cpu));
  m.impl("normal_aligning", TORCH_BOX(&meshconv::normal_aligning_cpu));
  m.impl("matched_weights", TORCH_BOX(&meshconv::matched_weights_cpu));
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
  m.impl("depthwise_conv", TORCH_BOX(&meshconv::depthwise_conv_cuda));
  m.impl("depthwise_conv_weight", TORCH_BOX(&meshconv::depthwise_conv_weight_cuda));
  m.impl("depthwise_conv_edge", TORCH_BOX(&meshconv::depthwise_conv_edge_cuda));
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
