// Tangent frames, log maps and transporters along the edges of a mesh; see meshconv/ops/references/surface.py.
#include <algorithm>
#include <cmath>
#include <tuple>

#include "../operators.h"
#include "index_checks.h"
#include "triangles.h"

namespace meshconv {
namespace {

constexpr int64_t kGrain = 2048;

// Points and the one-ring graph, rows = targets.
struct Ring {
  Tensor points, ptr, src;
  int64_t vertices, edges;
  const double* p;
  const int64_t *row_ptr, *from;
};

Ring check_ring(const char* op, const Tensor& points, const Tensor& ptr, const Tensor& src) {
  STD_TORCH_CHECK(points.scalar_type() == torch::headeronly::ScalarType::Double, op, ": points have to be float64");
  Ring r;
  r.points = check_tensor(op, "points", points, points, false, {-1, 3});
  r.vertices = points.size(0);
  r.ptr = check_tensor(op, "ptr", ptr, points, true, {r.vertices + 1});
  r.src = check_tensor(op, "src", src, points, true, {-1});
  r.edges = r.src.numel();
  check_rows(op, "ptr", r.ptr, r.edges);
  check_range(op, "src", r.src, 0, r.vertices);
  r.p = r.points.const_data_ptr<double>();
  r.row_ptr = r.ptr.const_data_ptr<int64_t>(), r.from = r.src.const_data_ptr<int64_t>();
  return r;
}

const bool* check_flags(const char* op, const char* name, Tensor& flags, int64_t size) {
  STD_TORCH_CHECK(flags.scalar_type() == torch::headeronly::ScalarType::Bool, op, ": ", name, " has to be bool");
  flags = check_tensor(op, name, flags, flags, false, {size});
  return flags.const_data_ptr<bool>();
}

// A unit vector orthogonal to n, along the projection of d unless nothing is left of it.
Vec3 tangent(Vec3 n, Vec3 d) {
  const double length = norm(d);
  Vec3 e = length > 0 ? (1 / length) * d : d;
  e = e - dot(e, n) * n;
  if (dot(e, e) < 1e-16) {
    const double x = std::fabs(n.x), y = std::fabs(n.y), z = std::fabs(n.z);
    e = x <= y && x <= z ? Vec3{1, 0, 0} : y <= z ? Vec3{0, 1, 0} : Vec3{0, 0, 1};
  }
  // Twice is enough: the second projection removes the first one's rounding error.
  for (int k = 0; k < 2; ++k) {
    e = e - dot(e, n) * n;
    e = (1 / norm(e)) * e;
  }
  return e;
}

// Angle of the projection of d on the tangent plane of frame v; 0 where nothing is left, hence no negative zeros.
double direction_angle(const double* frames, int64_t v, Vec3 d) {
  return std::atan2(dot(row(frames, 3 * v + 1), d) + 0.0, dot(row(frames, 3 * v), d) + 0.0);
}

}  // namespace

Tensor aligned_frames_cpu(Tensor points, Tensor normals, Tensor faces, Tensor reference, Tensor regular, Tensor ptr,
                          Tensor src, Tensor direction) {
  const char* op = "aligned_frames";
  const Ring ring = check_ring(op, points, ptr, src);
  const int64_t vertices = ring.vertices;
  normals = check_tensor(op, "normals", normals, points, false, {vertices, 3});
  faces = check_tensor(op, "faces", faces, points, true, {-1, 3});
  reference = check_tensor(op, "reference", reference, points, true, {vertices});
  direction = check_tensor(op, "direction", direction, points, false, {ring.edges});
  check_range(op, "faces", faces, 0, vertices);
  check_range(op, "reference", reference, -1, faces.numel());
  const bool* is_regular = check_flags(op, "regular", regular, vertices);
  const int64_t *origin = faces.const_data_ptr<int64_t>(), *first = reference.const_data_ptr<int64_t>();
  const double *normal = normals.const_data_ptr<double>(), *phi = direction.const_data_ptr<double>();
  Tensor out = torch::stable::new_empty(points, {vertices, 3, 3});
  double* frames = out.mutable_data_ptr<double>();
  torch::stable::parallel_for(0, vertices, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      prefetch(origin + std::max<int64_t>(first[std::min(v + kAhead, vertices - 1)], 0));
      const Vec3 here = row(ring.p, v), n = row(normal, v);
      const Vec3 along = first[v] < 0 ? Vec3{0, 0, 0} : row(ring.p, origin[next(first[v])]) - here;
      const Vec3 e1 = tangent(n, along), e2 = cross(n, e1);
      double c = 1, s = 0;
      if (is_regular[v]) {
        double real = 0, imaginary = 0;
        for (int64_t e = ring.row_ptr[v]; e < ring.row_ptr[v + 1]; ++e) {
          prefetch(ring.p + 3 * ring.from[std::min(e + kAhead, ring.edges - 1)]);
          const Vec3 chord = row(ring.p, ring.from[e]) - here;
          const double x = dot(e1, chord), y = dot(e2, chord);
          const CosineSine d = cosine_sine(phi[e]);
          real += x * d.cosine + y * d.sine;
          imaginary += y * d.cosine - x * d.sine;
        }
        const double size = std::hypot(real, imaginary);
        if (size > 0) c = real / size, s = imaginary / size;
      }
      set_row(frames, 3 * v, c * e1 + s * e2);
      set_row(frames, 3 * v + 1, c * e2 - s * e1);
      set_row(frames, 3 * v + 2, n);
    }
  });
  return out;
}

std::tuple<Tensor, Tensor, Tensor> levi_civita_cpu(Tensor points, Tensor frames, Tensor regular, Tensor ptr, Tensor src,
                                                   Tensor reverse, Tensor direction) {
  const char* op = "levi_civita";
  const Ring ring = check_ring(op, points, ptr, src);
  frames = check_tensor(op, "frames", frames, points, false, {ring.vertices, 3, 3});
  reverse = check_tensor(op, "reverse", reverse, points, true, {ring.edges});
  direction = check_tensor(op, "direction", direction, points, false, {ring.edges});
  check_range(op, "reverse", reverse, 0, ring.edges);
  const bool* is_regular = check_flags(op, "regular", regular, ring.vertices);
  const double *f = frames.const_data_ptr<double>(), *phi = direction.const_data_ptr<double>();
  const int64_t* back = reverse.const_data_ptr<int64_t>();
  Tensor log_radius = torch::stable::new_empty(points, {ring.edges}), log_angle = torch::stable::new_empty(points, {ring.edges});
  Tensor transporter = torch::stable::new_empty(points, {ring.edges});
  double *radius = log_radius.mutable_data_ptr<double>(), *angle = log_angle.mutable_data_ptr<double>();
  double* turn = transporter.mutable_data_ptr<double>();
  torch::stable::parallel_for(0, ring.vertices, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t v = begin; v < end; ++v) {
      const Vec3 here = row(ring.p, v);
      for (int64_t e = ring.row_ptr[v]; e < ring.row_ptr[v + 1]; ++e) {
        const int64_t u = ring.from[e], later = std::min(e + kAhead, ring.edges - 1);
        prefetch(ring.p + 3 * ring.from[later]), prefetch(phi + back[later]);
        const Vec3 chord = row(ring.p, u) - here;
        const double there = is_regular[u] ? phi[back[e]] : direction_angle(f, u, Vec3{0, 0, 0} - chord);
        const double arrives = is_regular[v] ? phi[e] : direction_angle(f, v, chord);
        radius[e] = norm(chord);
        angle[e] = wrap_angle(arrives);
        // One sum for both directions of an edge, so that they are opposite to the last bit.
        turn[e] = wrap_angle(v > u ? arrives + kPi - there : -(there + kPi - arrives));
      }
    }
  });
  return {log_radius, log_angle, transporter};
}

std::tuple<Tensor, Tensor, Tensor> normal_aligning_cpu(Tensor points, Tensor frames, Tensor src, Tensor dst) {
  const char* op = "normal_aligning";
  STD_TORCH_CHECK(points.scalar_type() == torch::headeronly::ScalarType::Double, op, ": points have to be float64");
  points = check_tensor(op, "points", points, points, false, {-1, 3});
  const int64_t vertices = points.size(0);
  frames = check_tensor(op, "frames", frames, points, false, {vertices, 3, 3});
  src = check_tensor(op, "src", src, points, true, {-1});
  const int64_t edges = src.numel();
  dst = check_tensor(op, "dst", dst, points, true, {edges});
  check_range(op, "src", src, 0, vertices);
  check_range(op, "dst", dst, 0, vertices);
  const double *p = points.const_data_ptr<double>(), *f = frames.const_data_ptr<double>();
  const int64_t *from = src.const_data_ptr<int64_t>(), *to = dst.const_data_ptr<int64_t>();
  Tensor log_radius = torch::stable::new_empty(points, {edges}), log_angle = torch::stable::new_empty(points, {edges});
  Tensor transporter = torch::stable::new_empty(points, {edges});
  double *radius = log_radius.mutable_data_ptr<double>(), *angle = log_angle.mutable_data_ptr<double>();
  double* turn = transporter.mutable_data_ptr<double>();
  torch::stable::parallel_for(0, edges, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const int64_t u = from[e], v = to[e];
      const Vec3 chord = row(p, u) - row(p, v);
      const Vec3 x = row(f, 3 * v), y = row(f, 3 * v + 1), x_there = row(f, 3 * u), y_there = row(f, 3 * u + 1);
      radius[e] = norm(chord);
      angle[e] = direction_angle(f, v, chord);
      turn[e] = std::atan2(dot(y, x_there) - dot(x, y_there), dot(x, x_there) + dot(y, y_there));
    }
  });
  return {log_radius, log_angle, transporter};
}

}  // namespace meshconv
