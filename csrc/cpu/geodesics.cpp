// The operator geodesics: neighbourhoods of all vertices, each with polar coordinates and transporters.
#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

#include "../checks.h"
#include "../operators.h"
#include "geodesic_front.h"

namespace meshconv {
namespace {

struct Members {
  std::vector<int64_t> count, src;
  std::vector<double> radius, angle, transporter;
};

// Neighbourhoods of a range of vertices, members by number.
void collect(GeodesicFront& front, int64_t begin, int64_t end, const GeodesicExtent& extent, Members& out) {
  std::vector<std::pair<int64_t, size_t>> order;
  for (int64_t v = begin; v < end; ++v) {
    front.run(v, extent);
    const auto& reached = front.reached();
    order.clear();
    for (size_t k = 1; k < reached.size(); ++k)
      if (reached[k].member && reached[k].settled) order.emplace_back(reached[k].vertex, k);
    std::sort(order.begin(), order.end());
    out.count.push_back(static_cast<int64_t>(order.size()));
    for (const auto& [vertex, k] : order) {
      out.src.push_back(vertex);
      out.radius.push_back(reached[k].distance);
      out.angle.push_back(std::remainder(reached[k].angle, 2 * kPi));
      out.transporter.push_back(std::remainder(reached[k].transporter, 2 * kPi));
    }
  }
}

template <typename T>
void append(T* out, int64_t at, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(out + at, values.data(), values.size() * sizeof(T));
}

void check_range(const char* name, const Tensor& index, int64_t low, int64_t high) {
  const int64_t* i = index.const_data_ptr<int64_t>();
  for (int64_t k = 0; k < index.size(0); ++k)
    STD_TORCH_CHECK(i[k] >= low && i[k] < high, "geodesics: ", name, "[", k, "] is ", i[k], ", expected ", low, " to ",
                    high - 1);
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> geodesics_cpu(
    Tensor points, Tensor frames, Tensor origin, Tensor twin, Tensor corner, Tensor fan_angle, Tensor total,
    Tensor scale, Tensor kind, Tensor ring_ptr, Tensor ring_src, Tensor ring_radius, Tensor ring_angle,
    Tensor ring_transporter, int64_t rings, double radius, int64_t nearest) {
  const char* op = "geodesics";
  STD_TORCH_CHECK(points.scalar_type() == torch::headeronly::ScalarType::Double, op, ": points have to be float64");
  STD_TORCH_CHECK(points.dim() == 2 && origin.dim() == 1 && ring_src.dim() == 1, op, ": points have shape ",
                  shape_of(points), ", origin ", shape_of(origin), ", ring_src ", shape_of(ring_src),
                  ", expected [V, 3], [H], [E]");
  const int64_t v = points.size(0), h = origin.size(0), e = ring_src.size(0);
  STD_TORCH_CHECK(h % 3 == 0, op, ": ", h, " half-edges are not three per face");
  const Tensor like = points;
  points = check_tensor(op, "points", points, like, false, {v, 3});
  frames = check_tensor(op, "frames", frames, like, false, {v, 3, 3});
  for (auto [name, t] : {std::pair<const char*, Tensor*>{"origin", &origin}, {"twin", &twin}})
    *t = check_tensor(op, name, *t, like, true, {h});
  for (auto [name, t] : {std::pair<const char*, Tensor*>{"corner", &corner}, {"fan_angle", &fan_angle}})
    *t = check_tensor(op, name, *t, like, false, {h});
  for (auto [name, t] : {std::pair<const char*, Tensor*>{"total", &total}, {"scale", &scale}})
    *t = check_tensor(op, name, *t, like, false, {v});
  kind = check_tensor(op, "kind", kind, like, true, {v});
  ring_ptr = check_tensor(op, "ring_ptr", ring_ptr, like, true, {v + 1});
  ring_src = check_tensor(op, "ring_src", ring_src, like, true, {e});
  for (auto [name, t] : {std::pair<const char*, Tensor*>{"ring_radius", &ring_radius},
                         {"ring_angle", &ring_angle},
                         {"ring_transporter", &ring_transporter}})
    *t = check_tensor(op, name, *t, like, false, {e});
  check_range("origin", origin, 0, v);
  check_range("twin", twin, -1, h);
  check_range("ring_src", ring_src, 0, v);
  check_range("ring_ptr", ring_ptr, 0, e + 1);

  GeodesicSurface surface{v, h};
  surface.points = points.const_data_ptr<double>(), surface.frames = frames.const_data_ptr<double>();
  surface.origin = origin.const_data_ptr<int64_t>(), surface.twin = twin.const_data_ptr<int64_t>();
  surface.corner = corner.const_data_ptr<double>(), surface.fan_angle = fan_angle.const_data_ptr<double>();
  surface.total = total.const_data_ptr<double>(), surface.scale = scale.const_data_ptr<double>();
  surface.kind = kind.const_data_ptr<int64_t>();
  surface.ring_ptr = ring_ptr.const_data_ptr<int64_t>(), surface.ring_src = ring_src.const_data_ptr<int64_t>();
  surface.ring_radius = ring_radius.const_data_ptr<double>();
  surface.ring_angle = ring_angle.const_data_ptr<double>();
  surface.ring_transporter = ring_transporter.const_data_ptr<double>();
  surface.prepare();

  const GeodesicExtent extent{rings, radius, nearest};
  constexpr int64_t kBlock = 512;
  const int64_t blocks = (v + kBlock - 1) / kBlock;
  std::vector<Members> parts(blocks);
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    GeodesicFront front(surface);
    for (int64_t b = begin; b < end; ++b)
      collect(front, b * kBlock, std::min(v, (b + 1) * kBlock), extent, parts[b]);
  });

  int64_t edges = 0;
  for (const Members& part : parts) edges += static_cast<int64_t>(part.src.size());
  Tensor ptr = torch::stable::new_empty(ring_ptr, {v + 1}), src = torch::stable::new_empty(ring_src, {edges});
  Tensor log_radius = torch::stable::new_empty(like, {edges}), log_angle = torch::stable::new_empty(like, {edges});
  Tensor transporter = torch::stable::new_empty(like, {edges});
  int64_t* row = ptr.mutable_data_ptr<int64_t>();
  int64_t at = 0;
  *row = 0;
  for (Members& part : parts) {
    append(src.mutable_data_ptr<int64_t>(), at, part.src);
    append(log_radius.mutable_data_ptr<double>(), at, part.radius);
    append(log_angle.mutable_data_ptr<double>(), at, part.angle);
    append(transporter.mutable_data_ptr<double>(), at, part.transporter);
    at += static_cast<int64_t>(part.src.size());
    for (int64_t n : part.count) row[1] = row[0] + n, ++row;
    part = Members();
  }
  return {ptr, src, log_radius, log_angle, transporter};
}

}  // namespace meshconv
