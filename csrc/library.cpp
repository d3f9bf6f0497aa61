// Schemas of the operators of geometry, registration of all, and the module entry that makes the library importable.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "checks.h"
#include "cpu/isa.h"
#include "operators.h"

#define MESHCONV_SCHEMA(name, schema) m.def(#name schema);

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

// Edges in compressed rows, int64:
//   transposed_rows   ptr [R + 1], column [E]: the row of each edge [E]; pointers [num_columns + 1] and edges [E] of the
//                     transpose, ascending in each of its rows

// Quadrature over a point's neighbours, V points, E edges by target, B radial functions, J moments; float64:
//   matched_weights   ptr [V + 1], radius [E] of the disc's, angle [E], share [E, B], target [V, B, J]:
//                     factor of each share [E, B], largest moment that is missed over the mass [V, B]

STABLE_TORCH_LIBRARY(meshconv, m) {
  MESHCONV_LAYER_OPERATORS(MESHCONV_SCHEMA)
  MESHCONV_BLOCK_OPERATORS(MESHCONV_SCHEMA)
  m.def("geodesics(" MESHCONV_SURFACE "int rings, float radius, int nearest) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def("farthest_points(" MESHCONV_SURFACE "Tensor rank, int[] counts) -> (Tensor, Tensor, Tensor)");
  m.def(
      "geodesic_cells(" MESHCONV_SURFACE "Tensor centres, Tensor target_ptr, Tensor target, Tensor bound, float radius) "
      "-> (Tensor, Tensor, Tensor)");
  m.def("half_edges(Tensor faces, int num_vertices) -> (Tensor, Tensor, Tensor, Tensor, Tensor, bool)");
  m.def("transposed_rows(Tensor ptr, Tensor column, int num_columns) -> (Tensor, Tensor, Tensor)");
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
}

#define MESHCONV_ON_CPU(name, ...) m.impl(#name, TORCH_BOX(&meshconv::name##_cpu));
#define MESHCONV_ON_CUDA(name, ...) m.impl(#name, TORCH_BOX(&meshconv::name##_cuda));

STABLE_TORCH_LIBRARY_IMPL(meshconv, CPU, m) {
  MESHCONV_LAYER_OPERATORS(MESHCONV_ON_CPU)
  MESHCONV_BLOCK_OPERATORS(MESHCONV_ON_CPU)
  MESHCONV_ON_CPU(geodesics)
  MESHCONV_ON_CPU(farthest_points)
  MESHCONV_ON_CPU(geodesic_cells)
  MESHCONV_ON_CPU(half_edges)
  MESHCONV_ON_CPU(transposed_rows)
  MESHCONV_ON_CPU(signed_volume)
  MESHCONV_ON_CPU(face_geometry)
  MESHCONV_ON_CPU(vertex_geometry)
  MESHCONV_ON_CPU(one_ring)
  MESHCONV_ON_CPU(aligned_frames)
  MESHCONV_ON_CPU(levi_civita)
  MESHCONV_ON_CPU(normal_aligning)
  MESHCONV_ON_CPU(matched_weights)
}

#ifdef MESHCONV_WITH_CUDA
STABLE_TORCH_LIBRARY_IMPL(meshconv, CUDA, m) { MESHCONV_LAYER_OPERATORS(MESHCONV_ON_CUDA) }
#endif

namespace {

// Only functions of Python, no Py_True: programs without Python load the operators too, and functions are looked up when
// they are called.
PyObject* build(PyObject*, PyObject*) {
#ifdef MESHCONV_WITH_CUDA
  constexpr long cuda = 1;
#else
  constexpr long cuda = 0;
#endif
  return Py_BuildValue("{s:s,s:N}", "instruction_set", meshconv::instruction_set(), "cuda", PyBool_FromLong(cuda));
}

PyMethodDef methods[] = {
    {"build", build, METH_NOARGS, "What this library was built with and what this processor uses of it."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", nullptr, -1, methods, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__C(void) { return PyModule_Create(&module); }
