// Angles, areas and normals of triangles, and their sums round the vertices. A vertex has one owner that adds in the
// order of the half-edges: the same bits for any number of threads.
#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "../operators.h"
#include "index_checks.h"
#include "triangles.h"

namespace meshconv {
namespace {

constexpr int64_t kGrain = 2048;

struct Triangles {
  Tensor points, faces;
  int64_t count;
  const double* p;
  const int64_t* f;
  Vec3 corner(int64_t face, int k) const { return row(p, f[3 * face + k]); }
};

Triangles check_triangles(const char* op, const Tensor& points, const Tensor& faces) {
  STD_TORCH_CHECK(points.scalar_type() == torch::headeronly::ScalarType::Double, op, ": points have to be float64");
  Triangles t;
  t.points = check_tensor(op, "points", points, points, false, {-1, 3});
  t.faces = check_tensor(op, "faces", faces, points, true, {-1, 3});
  check_range(op, "faces", t.faces, 0, points.size(0));
  t.count = faces.size(0), t.p = t.points.const_data_ptr<double>(), t.f = t.faces.const_data_ptr<int64_t>();
  return t;
}

// Of degenerate triangles the limits: a needle with pi/2 at its short edge, an equilateral triangle.
void corner_angles(const Vec3 (&corner)[3], double* angle) {
  Vec3 edge[3];
  bool zero[3];
  for (int k = 0; k < 3; ++k) {
    edge[k] = corner[(k + 1) % 3] - corner[k];
    zero[k] = edge[k].x == 0 && edge[k].y == 0 && edge[k].z == 0;
  }
  const bool any = zero[0] || zero[1] || zero[2], all = zero[0] && zero[1] && zero[2];
  for (int k = 0; k < 3; ++k) {
    const int before = (k + 2) % 3;
    if (any)
      angle[k] = all ? kPi / 3 : zero[k] || zero[before] ? kPi / 2 : 0;
    else
      angle[k] = std::atan2(norm(cross(edge[k], edge[before])), -dot(edge[k], edge[before]));
  }
}

// The half-edges that leave each vertex.
struct Corners {
  Tensor ptr, outgoing;
  int64_t vertices;
  const int64_t *p, *out;
};

Corners check_corners(const char* op, const Tensor& ptr, const Tensor& outgoing, const Tensor& like, int64_t half_edges) {
  Corners c;
  c.ptr = check_tensor(op, "ptr", ptr, like, true, {-1});
  c.outgoing = check_tensor(op, "outgoing", outgoing, like, true, {half_edges});
  check_rows(op, "ptr", c.ptr, half_edges);
  check_range(op, "outgoing", c.outgoing, 0, half_edges);
  c.vertices = ptr.size(0) - 1, c.p = c.ptr.const_data_ptr<int64_t>(), c.out = c.outgoing.const_data_ptr<int64_t>();
  return c;
}

}  // namespace

double signed_volume_cpu(Tensor points, Tensor faces) {
  const Triangles t = check_triangles("signed_volume", points, faces);
  const int64_t vertices = points.size(0);
  // Far from the origin the products would cancel.
  Vec3 middle{0, 0, 0};
  for (int64_t v = 0; v < vertices; ++v) middle = middle + row(t.p, v);
  if (vertices > 0) middle = (1.0 / static_cast<double>(vertices)) * middle;
  constexpr int64_t kBlock = 4096;
  std::vector<double> sums((t.count + kBlock - 1) / kBlock);
  torch::stable::parallel_for(0, static_cast<int64_t>(sums.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      for (int64_t f = b * kBlock; f < std::min(t.count, (b + 1) * kBlock); ++f)
        sums[b] += dot(t.corner(f, 0) - middle, cross(t.corner(f, 1) - middle, t.corner(f, 2) - middle));
  });
  double volume = 0;
  for (double sum : sums) volume += sum;
  return volume / 6;
}

std::tuple<Tensor, Tensor, Tensor> face_geometry_cpu(Tensor points, Tensor faces) {
  const Triangles t = check_triangles("face_geometry", points, faces);
  Tensor angles = torch::stable::new_empty(points, {t.count, 3}), normals = torch::stable::new_empty(points, {t.count, 3});
  Tensor areas = torch::stable::new_empty(points, {t.count});
  double *angle = angles.mutable_data_ptr<double>(), *normal = normals.mutable_data_ptr<double>();
  double* area = areas.mutable_data_ptr<double>();
  torch::stable::parallel_for(0, t.count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t f = begin; f < end; ++f) {
      const Vec3 corner[3] = {t.corner(f, 0), t.corner(f, 1), t.corner(f, 2)};
      corner_angles(corner, angle + 3 * f);
      const Vec3 vector = 0.5 * cross(corner[1] - corner[0], corner[2] - corner[0]);
      area[f] = norm(vector);
      set_row(normal, f, area[f] > 0 ? (1 / area[f]) * vector : vector);
    }
  });
  return {angles, normals, areas};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> vertex_geometry_cpu(
    Tensor twin, Tensor irregular, Tensor ptr, Tensor outgoing, Tensor corner, Tensor face_normal, Tensor face_area) {
  const char* op = "vertex_geometry";
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(corner.scalar_type() == ScalarType::Double, op, ": corner has to be float64");
  const Tensor like = corner;
  corner = check_tensor(op, "corner", corner, like, false, {-1});
  const int64_t half_edges = corner.numel();
  face_normal = check_tensor(op, "face_normal", face_normal, like, false, {half_edges / 3, 3});
  face_area = check_tensor(op, "face_area", face_area, like, false, {half_edges / 3});
  const Corners at = check_corners(op, ptr, outgoing, like, half_edges);
  twin = check_tensor(op, "twin", twin, like, true, {half_edges});
  check_range(op, "twin", twin, -1, half_edges);
  irregular = check_tensor(op, "irregular", irregular, irregular, false, {at.vertices});
  STD_TORCH_CHECK(irregular.scalar_type() == ScalarType::Bool, op, ": irregular has to be bool");
  const auto per_vertex = [&](std::optional<ScalarType> type) {
    return torch::stable::new_empty(like, {at.vertices}, type);
  };
  Tensor reference = per_vertex(ScalarType::Long), angle = torch::stable::new_empty(like, {half_edges});
  Tensor total = per_vertex({}), scale = per_vertex({});
  Tensor regular = per_vertex(ScalarType::Bool), boundary = per_vertex(ScalarType::Bool);
  Tensor normals = torch::stable::new_empty(like, {at.vertices, 3}), areas = per_vertex({});
  const int64_t* t = twin.const_data_ptr<int64_t>();
  const double *inside = corner.const_data_ptr<double>(), *unit = face_normal.const_data_ptr<double>();
  const double* size = face_area.const_data_ptr<double>();
  const bool* bad = irregular.const_data_ptr<bool>();
  int64_t* r = reference.mutable_data_ptr<int64_t>();
  double *a = angle.mutable_data_ptr<double>(), *sum = total.mutable_data_ptr<double>();
  double *s = scale.mutable_data_ptr<double>(), *normal = normals.mutable_data_ptr<double>();
  double* area = areas.mutable_data_ptr<double>();
  bool *is_regular = regular.mutable_data_ptr<bool>(), *on_boundary = boundary.mutable_data_ptr<bool>();
  torch::stable::parallel_for(0, at.vertices, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      const int64_t corners = at.p[v + 1] - at.p[v];
      int64_t first = corners > 0 ? at.out[at.p[v]] : -1, starts = 0;
      Vec3 weighted{0, 0, 0}, stand_in{0, 0, 1};
      sum[v] = area[v] = 0;
      for (int64_t k = at.p[v]; k < at.p[v + 1]; ++k) {
        const int64_t h = at.out[k], later = at.out[std::min(k + kAhead, half_edges - 1)];
        prefetch(inside + later), prefetch(t + later), prefetch(unit + later / 3 * 3), prefetch(size + later / 3);
        sum[v] += inside[h], a[h] = 0;
        if (t[h] < 0 && starts++ == 0) first = h;
        const int64_t face = h / 3;
        if (!(size[face] > 0)) continue;
        area[v] += size[face] / 3;
        stand_in = row(unit, face);
        weighted = weighted + inside[h] * stand_in;
      }
      const double length = norm(weighted);
      set_row(normal, v, length < 1e-12 ? stand_in : (1 / length) * weighted);
      int64_t visited = 0;
      double turned = 0;
      for (int64_t h = first; h >= 0 && visited < corners; ++visited) {
        a[h] = turned, turned += inside[h];
        h = t[previous(h)];
        if (h == first) h = -1;
      }
      r[v] = first;
      on_boundary[v] = starts > 0;
      s[v] = (starts > 0 ? kPi : 2 * kPi) / (sum[v] > 0 ? sum[v] : 1.0);
      is_regular[v] = sum[v] > 0 && starts <= 1 && visited == corners && !bad[v];
    }
  });
  return {reference, angle, total, scale, regular, boundary, normals, areas};
}

}  // namespace meshconv
