// The surface that the geodesic operators take as one list of tensors, checked.
#pragma once

#include <vector>

#include "geodesic_surface.h"
#include "index_checks.h"

namespace meshconv {

// Tensors in the order of GeodesicSurface's members, see library.cpp; made contiguous in place, and pointed into.
inline GeodesicSurface check_surface(const char* op, std::vector<Tensor>& t) {
  STD_TORCH_CHECK(t.size() == 14, op, ": a surface has 14 tensors, got ", t.size());
  STD_TORCH_CHECK(t[0].scalar_type() == torch::headeronly::ScalarType::Double, op, ": points have to be float64");
  STD_TORCH_CHECK(t[0].dim() == 2 && t[2].dim() == 1 && t[10].dim() == 1, op, ": points have shape ", shape_of(t[0]),
                  ", origin ", shape_of(t[2]), ", ring_src ", shape_of(t[10]), ", expected [V, 3], [H], [E]");
  const int64_t v = t[0].size(0), h = t[2].size(0), e = t[10].size(0);
  STD_TORCH_CHECK(h % 3 == 0, op, ": ", h, " half-edges are not three per face");
  struct Expected {
    const char* name;
    bool index;
    std::vector<int64_t> sizes;
  };
  const std::vector<Expected> expected{
      {"points", false, {v, 3}},       {"frames", false, {v, 3, 3}}, {"origin", true, {h}},
      {"twin", true, {h}},             {"corner", false, {h}},       {"fan_angle", false, {h}},
      {"total", false, {v}},           {"scale", false, {v}},        {"kind", true, {v}},
      {"ring_ptr", true, {v + 1}},     {"ring_src", true, {e}},      {"ring_radius", false, {e}},
      {"ring_angle", false, {e}},      {"ring_transporter", false, {e}}};
  const Tensor like = t[0];
  for (size_t k = 0; k < t.size(); ++k)
    t[k] = check_tensor(op, expected[k].name, t[k], like, expected[k].index, expected[k].sizes);
  check_range(op, "origin", t[2], 0, v);
  check_range(op, "twin", t[3], -1, h);
  check_range(op, "ring_ptr", t[9], 0, e + 1);
  check_range(op, "ring_src", t[10], 0, v);

  GeodesicSurface surface{v, h};
  surface.points = t[0].const_data_ptr<double>(), surface.frames = t[1].const_data_ptr<double>();
  surface.origin = t[2].const_data_ptr<int64_t>(), surface.twin = t[3].const_data_ptr<int64_t>();
  surface.corner = t[4].const_data_ptr<double>(), surface.fan_angle = t[5].const_data_ptr<double>();
  surface.total = t[6].const_data_ptr<double>(), surface.scale = t[7].const_data_ptr<double>();
  surface.kind = t[8].const_data_ptr<int64_t>();
  surface.ring_ptr = t[9].const_data_ptr<int64_t>(), surface.ring_src = t[10].const_data_ptr<int64_t>();
  surface.ring_radius = t[11].const_data_ptr<double>(), surface.ring_angle = t[12].const_data_ptr<double>();
  surface.ring_transporter = t[13].const_data_ptr<double>();
  surface.prepare();
  return surface;
}

}  // namespace meshconv
