// Connectivity in linear time: half-edges of triangles by vertex, twins, the one-ring graph; edges by source.
#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "../operators.h"
#include "index_checks.h"
#include "triangles.h"

namespace meshconv {
namespace {

constexpr int64_t kBlock = 4096;  // vertices a task; blocks, not threads, decide the order of results

// The half-edges, or edges, that leave each vertex, by number.
void bucket_by_origin(const int64_t* origin, int64_t edges, int64_t vertices, int64_t* ptr, int64_t* outgoing) {
  std::fill(ptr, ptr + vertices + 1, 0);
  for (int64_t e = 0; e < edges; ++e) ++ptr[origin[e] + 1];
  for (int64_t v = 0; v < vertices; ++v) ptr[v + 1] += ptr[v];
  std::vector<int64_t> place(ptr, ptr + vertices);
  for (int64_t e = 0; e < edges; ++e) outgoing[place[origin[e]]++] = e;
}

struct EdgesOfBlock {
  std::vector<int64_t> first;  // a half-edge of each edge whose lower end is in the block
  std::vector<int64_t> bad;    // those of edges without a clear opposite side
  bool proper = true;
};

class TwinSearch {
 public:
  TwinSearch(const int64_t* origin, int64_t half_edges, const int64_t* ptr, const int64_t* outgoing, int64_t* twin)
      : origin_(origin), half_edges_(half_edges), ptr_(ptr), outgoing_(outgoing), twin_(twin) {}

  // Edges from v to vertices of higher number: each edge is looked at from one vertex alone.
  void from(int64_t v, EdgesOfBlock& out) {
    around_.clear();
    for (int64_t k = ptr_[v]; k < ptr_[v + 1]; ++k) {
      prefetch(origin_ + outgoing_[std::min(k + kAhead, half_edges_ - 1)]);
      const int64_t leaves = outgoing_[k], arrives = previous(leaves);
      const int64_t tip = origin_[next(leaves)], base = origin_[arrives];
      if (tip > v) around_.emplace_back(tip, leaves);
      if (base > v) around_.emplace_back(base, arrives);
      if (tip == v) twin_[leaves] = -1, out.proper = false;
      out.proper &= base != v;
    }
    std::sort(around_.begin(), around_.end());
    for (size_t begin = 0, end; begin < around_.size(); begin = end) {
      for (end = begin + 1; end < around_.size() && around_[end].first == around_[begin].first; ++end) continue;
      group(begin, end, out);
    }
  }

 private:
  void group(size_t begin, size_t end, EdgesOfBlock& out) {
    const int64_t first = around_[begin].second, second = around_[end - 1].second;
    out.first.push_back(first);
    for (size_t k = begin; k < end; ++k) twin_[around_[k].second] = -1;
    if (end - begin == 2 && origin_[first] != origin_[second])
      twin_[first] = second, twin_[second] = first;
    else if (end - begin > 1)
      out.bad.push_back(first);
    // Faces on the same three vertices have their edges in common, and the corner opposite to each.
    if (end - begin <= 2) {
      out.proper &= first == second || origin_[previous(first)] != origin_[previous(second)];
      return;
    }
    opposite_.clear();
    for (size_t k = begin; k < end; ++k) opposite_.push_back(origin_[previous(around_[k].second)]);
    std::sort(opposite_.begin(), opposite_.end());
    out.proper &= std::adjacent_find(opposite_.begin(), opposite_.end()) == opposite_.end();
  }

  const int64_t* origin_;
  int64_t half_edges_;
  const int64_t *ptr_, *outgoing_;
  int64_t* twin_;
  std::vector<std::pair<int64_t, int64_t>> around_;  // other end, half-edge
  std::vector<int64_t> opposite_;
};

}  // namespace

std::tuple<Tensor, Tensor, Tensor> transposed_rows_cpu(Tensor ptr, Tensor column, int64_t num_columns) {
  const char* op = "transposed_rows";
  ptr = check_tensor(op, "ptr", ptr, ptr, true, {-1});
  column = check_tensor(op, "column", column, ptr, true, {-1});
  STD_TORCH_CHECK(num_columns >= 0, op, ": num_columns is ", num_columns);
  check_rows(op, "ptr", ptr, column.numel());
  check_range(op, "column", column, 0, num_columns);
  Tensor row = torch::stable::new_empty(column, {column.numel()}), edge = torch::stable::new_empty(row, {row.numel()});
  Tensor column_ptr = torch::stable::new_empty(ptr, {num_columns + 1});
  const int64_t* p = ptr.const_data_ptr<int64_t>();
  int64_t* rows = row.mutable_data_ptr<int64_t>();
  for (int64_t r = 0; r + 1 < ptr.numel(); ++r) std::fill(rows + p[r], rows + p[r + 1], r);
  bucket_by_origin(column.const_data_ptr<int64_t>(), column.numel(), num_columns,
                   column_ptr.mutable_data_ptr<int64_t>(), edge.mutable_data_ptr<int64_t>());
  return {row, column_ptr, edge};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, bool> half_edges_cpu(Tensor faces, int64_t num_vertices) {
  const char* op = "half_edges";
  faces = check_tensor(op, "faces", faces, faces, true, {-1, 3});
  STD_TORCH_CHECK(num_vertices >= 0, op, ": num_vertices is ", num_vertices);
  check_range(op, "faces", faces, 0, num_vertices);
  const int64_t half_edges = faces.numel();
  Tensor twin = torch::stable::new_empty(faces, {half_edges});
  Tensor ptr = torch::stable::new_empty(faces, {num_vertices + 1}), outgoing = torch::stable::new_empty(twin, {half_edges});
  const int64_t *origin = faces.const_data_ptr<int64_t>(), *p = ptr.const_data_ptr<int64_t>();
  bucket_by_origin(origin, half_edges, num_vertices, ptr.mutable_data_ptr<int64_t>(), outgoing.mutable_data_ptr<int64_t>());

  std::vector<EdgesOfBlock> parts((num_vertices + kBlock - 1) / kBlock);
  int64_t* twins = twin.mutable_data_ptr<int64_t>();
  const int64_t* out = outgoing.const_data_ptr<int64_t>();
  torch::stable::parallel_for(0, static_cast<int64_t>(parts.size()), 1, [&](int64_t begin, int64_t end) {
    TwinSearch search(origin, half_edges, p, out, twins);
    for (int64_t b = begin; b < end; ++b)
      for (int64_t v = b * kBlock; v < std::min(num_vertices, (b + 1) * kBlock); ++v) search.from(v, parts[b]);
  });

  int64_t edges = 0;
  bool proper = true;
  Tensor irregular = torch::stable::new_zeros(faces, {num_vertices}, torch::headeronly::ScalarType::Bool);
  bool* marked = irregular.mutable_data_ptr<bool>();
  for (const EdgesOfBlock& part : parts) {
    edges += static_cast<int64_t>(part.first.size());
    proper &= part.proper;
    for (int64_t h : part.bad) marked[origin[h]] = marked[origin[next(h)]] = true;
  }
  Tensor edge = torch::stable::new_empty(twin, {edges});
  int64_t* at = edge.mutable_data_ptr<int64_t>();
  for (const EdgesOfBlock& part : parts) at = std::copy(part.first.begin(), part.first.end(), at);
  return {twin, edge, irregular, ptr, outgoing, proper};
}

std::tuple<Tensor, Tensor, Tensor, Tensor> one_ring_cpu(Tensor faces, Tensor twin, Tensor edge, Tensor corner,
                                                        Tensor fan_angle, Tensor scale) {
  const char* op = "one_ring";
  STD_TORCH_CHECK(scale.scalar_type() == torch::headeronly::ScalarType::Double, op, ": scale has to be float64");
  const Tensor like = scale;
  scale = check_tensor(op, "scale", scale, like, false, {-1});
  faces = check_tensor(op, "faces", faces, like, true, {-1, 3});
  const int64_t vertices = scale.numel(), half_edges = faces.numel();
  twin = check_tensor(op, "twin", twin, like, true, {half_edges});
  edge = check_tensor(op, "edge", edge, like, true, {-1});
  corner = check_tensor(op, "corner", corner, like, false, {half_edges});
  fan_angle = check_tensor(op, "fan_angle", fan_angle, like, false, {half_edges});
  check_range(op, "faces", faces, 0, vertices);
  check_range(op, "twin", twin, -1, half_edges);
  check_range(op, "edge", edge, 0, half_edges);

  const int64_t edges = edge.numel();
  const int64_t *origin = faces.const_data_ptr<int64_t>(), *t = twin.const_data_ptr<int64_t>();
  const int64_t* first = edge.const_data_ptr<int64_t>();
  const double *angle = fan_angle.const_data_ptr<double>(), *inside = corner.const_data_ptr<double>();
  const double* factor = scale.const_data_ptr<double>();
  Tensor ptr = torch::stable::new_zeros(faces, {vertices + 1}), src = torch::stable::new_empty(faces, {2 * edges});
  Tensor reverse = torch::stable::new_empty(faces, {2 * edges});
  Tensor direction = torch::stable::new_empty(like, {2 * edges});
  int64_t *p = ptr.mutable_data_ptr<int64_t>(), *from = src.mutable_data_ptr<int64_t>();
  int64_t* back = reverse.mutable_data_ptr<int64_t>();
  double* turn = direction.mutable_data_ptr<double>();
  std::vector<int64_t> ends(2 * edges), at(2 * edges);
  torch::stable::parallel_for(0, edges, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      prefetch(origin + first[std::min(e + kAhead, edges - 1)]);
      ends[2 * e] = origin[first[e]], ends[2 * e + 1] = origin[next(first[e])];
    }
  });
  for (int64_t v : ends) ++p[v + 1];
  for (int64_t v = 0; v < vertices; ++v) p[v + 1] += p[v];
  // Edges come by their lower end, then the other: every row is met in ascending order.
  std::vector<int64_t> place(p, p + vertices);
  for (int64_t k = 0; k < 2 * edges; ++k) at[k] = place[ends[k]]++;
  torch::stable::parallel_for(0, edges, kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t e = begin; e < end; ++e) {
      const int64_t later = std::min(e + kAhead, edges - 1), latest = std::min(e + 2 * kAhead, edges - 1);
      prefetch(t + first[latest]), prefetch(angle + std::max<int64_t>(t[first[later]], 0));
      const int64_t h = first[e], after = next(h), i = ends[2 * e], j = ends[2 * e + 1];
      const int64_t at_i = at[2 * e], at_j = at[2 * e + 1];
      from[at_i] = j, from[at_j] = i;
      back[at_i] = at_j, back[at_j] = at_i;
      turn[at_i] = factor[i] * angle[h];
      // On a boundary j -> i is no half-edge of a face: it closes the fan of j, one corner after the last.
      turn[at_j] = factor[j] * (t[h] >= 0 ? angle[t[h]] : angle[after] + inside[after]);
    }
  });
  return {ptr, src, reverse, direction};
}

}  // namespace meshconv
