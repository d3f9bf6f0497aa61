// The operators of a mesh's hierarchy: points as far apart as can be, and their geodesic cells.
#include <algorithm>
#include <mutex>
#include <tuple>
#include <vector>

#include "../operators.h"
#include "farthest_points.h"
#include "geodesic_arguments.h"
#include "geodesic_front.h"

namespace meshconv {
namespace {

// What the centres of one share of the work know of each vertex: the nearest, and its polar coordinates there.
struct Cells {
  std::vector<int64_t> nearest;
  std::vector<double> radius, angle, transporter;

  explicit Cells(int64_t vertices) : nearest(vertices, -1), radius(vertices), angle(vertices), transporter(vertices) {}

  // Compared in single precision, and then by number: neither rounding nor the order of the work decides.
  void offer(int64_t v, int64_t centre, double r, double a, double t) {
    const float now = static_cast<float>(r), old = static_cast<float>(radius[v]);
    if (nearest[v] >= 0 && !(now < old || (now == old && centre < nearest[v]))) return;
    nearest[v] = centre, radius[v] = r, angle[v] = a, transporter[v] = t;
  }
};

}  // namespace

std::tuple<Tensor, Tensor, Tensor> farthest_points_cpu(std::vector<Tensor> tensors, Tensor rank,
                                                       std::vector<int64_t> counts) {
  const char* op = "farthest_points";
  const GeodesicSurface surface = check_surface(op, tensors);
  const int64_t v = surface.vertices, levels = static_cast<int64_t>(counts.size());
  rank = check_tensor(op, "rank", rank, tensors[0], true, {v});
  int64_t most = 0;
  for (int64_t n : counts) {
    STD_TORCH_CHECK(n >= 0 && n <= v, op, ": ", n, " points of ", v, " vertices are asked for");
    most = std::max(most, n);
  }
  Tensor points = torch::stable::new_empty(rank, {most}), cell = torch::stable::new_empty(rank, {levels, v});
  Tensor distance = torch::stable::new_empty(tensors[0], {levels, v});
  FarthestPoints sampling(surface, rank.const_data_ptr<int64_t>());
  for (int64_t n = 0; n <= most; ++n) {
    for (int64_t k = 0; k < levels; ++k) {
      if (counts[k] != n) continue;
      double* out = distance.mutable_data_ptr<double>() + k * v;
      for (int64_t u = 0; u < v; ++u) out[u] = sampling.distance(u);
      std::copy_n(sampling.cell().data(), v, cell.mutable_data_ptr<int64_t>() + k * v);
    }
    if (n < most) sampling.add();
  }
  std::copy_n(sampling.points().data(), most, points.mutable_data_ptr<int64_t>());
  return {points, distance, cell};
}

std::tuple<Tensor, Tensor, Tensor> geodesic_cells_cpu(std::vector<Tensor> tensors, Tensor centres, Tensor target_ptr,
                                                      Tensor target, Tensor bound, double radius) {
  const char* op = "geodesic_cells";
  const GeodesicSurface surface = check_surface(op, tensors);
  const Tensor& like = tensors[0];
  STD_TORCH_CHECK(centres.dim() == 1 && target.dim() == 1, op, ": centres have shape ", shape_of(centres),
                  ", targets ", shape_of(target), ", expected [n], [T]");
  const int64_t v = surface.vertices, n = centres.size(0), targets = target.size(0);
  centres = check_tensor(op, "centres", centres, like, true, {n});
  target_ptr = check_tensor(op, "target_ptr", target_ptr, like, true, {n + 1});
  target = check_tensor(op, "target", target, like, true, {targets});
  bound = check_tensor(op, "bound", bound, like, false, {targets});
  check_range(op, "centres", centres, 0, v);
  check_range(op, "target", target, 0, v);
  check_range(op, "target_ptr", target_ptr, 0, targets + 1);

  Tensor logs = torch::stable::new_empty(like, {3, targets}), polar = torch::stable::new_empty(like, {3, v});
  Tensor nearest = torch::stable::new_empty(target, {v});
  double* log = logs.mutable_data_ptr<double>();
  const int64_t *centre = centres.const_data_ptr<int64_t>(), *ptr = target_ptr.const_data_ptr<int64_t>();
  const int64_t* to = target.const_data_ptr<int64_t>();
  const double* within = bound.const_data_ptr<double>();
  Cells cells(v);
  int64_t lost = -1;
  std::mutex mutex;
  torch::stable::parallel_for(0, n, 16, [&](int64_t begin, int64_t end) {
    GeodesicFront front(surface);
    Cells own(v);
    int64_t missed = -1;
    for (int64_t c = begin; c < end; ++c) {
      const int64_t count = ptr[c + 1] - ptr[c];
      if (!front.run(centre[c], GeodesicTargets{to + ptr[c], within + ptr[c], count, radius})) missed = c;
      for (const auto& r : front.reached())
        if (r.settled && (r.member || r.distance <= radius))
          own.offer(r.vertex, c, r.distance, std::remainder(r.angle, 2 * kPi), std::remainder(r.transporter, 2 * kPi));
      for (int64_t k = ptr[c]; k < ptr[c + 1] && missed < 0; ++k) {
        const auto& r = front.reached(to[k]);
        log[k] = r.distance;
        log[targets + k] = std::remainder(r.angle, 2 * kPi);
        log[2 * targets + k] = std::remainder(r.transporter, 2 * kPi);
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    lost = std::max(lost, missed);
    for (int64_t u = 0; u < v; ++u)
      if (own.nearest[u] >= 0) cells.offer(u, own.nearest[u], own.radius[u], own.angle[u], own.transporter[u]);
  });
  STD_TORCH_CHECK(lost < 0, op, ": not all targets of centre ", lost, " are connected with it");
  std::copy_n(cells.nearest.data(), v, nearest.mutable_data_ptr<int64_t>());
  double* out = polar.mutable_data_ptr<double>();
  std::copy_n(cells.radius.data(), v, out);
  std::copy_n(cells.angle.data(), v, out + v);
  std::copy_n(cells.transporter.data(), v, out + 2 * v);
  return {logs, nearest, polar};
}

}  // namespace meshconv
