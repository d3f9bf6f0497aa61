// The operator geodesics: neighbourhoods of all vertices, each with polar coordinates and transporters.
#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

#include "../operators.h"
#include "geodesic_arguments.h"
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

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> geodesics_cpu(std::vector<Tensor> tensors, int64_t rings,
                                                                 double radius, int64_t nearest) {
  const GeodesicSurface surface = check_surface("geodesics", tensors);
  const Tensor &like = tensors[0], &index = tensors[9];
  const int64_t v = surface.vertices;
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
  Tensor ptr = torch::stable::new_empty(index, {v + 1}), src = torch::stable::new_empty(index, {edges});
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
