// CPU operators of the depthwise gauge convolution: rows and threads. Every output row has one owner, and sums over
// rows run in a fixed order: the same bits for any number of threads.
#include "../depthwise.h"

#include <algorithm>
#include <vector>

#include "../operators.h"
#include "isa.h"

namespace meshconv {
namespace {

ConvShape uniform_shape(const ConvTypes& types, int64_t radial, int64_t lanes) {
  ConvShape s{};
  const int64_t channels = types.in[0];
  s.radial = radial;
  s.in_orders = static_cast<int64_t>(types.in.size());
  s.out_orders = static_cast<int64_t>(types.out.size());
  for (int64_t m = 0; m < s.in_orders; ++m) {
    s.in_count[m] = channels;
    s.in_start[m] = channels * (m == 0 ? 0 : 2 * m - 1);
  }
  s.in_dim = ConvTypes::dim(types.in);
  s.out_dim = ConvTypes::dim(types.out);
  s.parts = 2 * s.out_orders - 1;
  s.panel = 2 * lanes;
  s.in_padded = (s.in_dim + s.panel - 1) / s.panel * s.panel;
  return s;
}

template <typename T>
struct RowScratch {
  std::vector<T> turned, weights, moments;
  explicit RowScratch(const ConvShape& s)
      : turned(64 * s.in_padded + s.panel), weights(64 * s.parts * s.radial), moments(s.parts * s.radial * s.in_dim) {}
  Scratch<T> view() { return {turned.data(), weights.data(), moments.data(), nullptr}; }
};

constexpr int64_t kRows = 64;  // rows a task

template <typename T>
Tensor conv(const ConvArguments& a, const Tensor& weight) {
  const DepthwiseKernels<T>& kernels = best_kernels<T>().depthwise;
  const ConvShape shape = uniform_shape(a.types, a.radial.size(1), kernels.lanes);
  const ConvRows<T> graph = a.view<T>();
  const int64_t batch = a.x.size(0), from = graph.from, rows = graph.rows;
  Tensor y = torch::stable::new_empty(a.x, {batch, rows, shape.out_dim});
  const T *x = a.x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>();
  T* out = y.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, batch * rows, kRows, [&](int64_t begin, int64_t end) {
    RowScratch<T> scratch(shape);
    for (int64_t i = begin; i < end; ++i)
      kernels.conv(shape, graph, x + i / rows * from * shape.in_dim, w, i % rows, out + i * shape.out_dim,
                   scratch.view());
  });
  return y;
}

template <typename T>
Tensor conv_weight(const ConvArguments& a, const Tensor& grad) {
  check_channels("depthwise_conv_weight", a.types);
  const DepthwiseKernels<T>& kernels = best_kernels<T>().depthwise;
  const ConvShape shape = uniform_shape(a.types, a.radial.size(1), kernels.lanes);
  const ConvRows<T> graph = a.view<T>();
  const int64_t batch = a.x.size(0), from = graph.from, rows = graph.rows, in = 2 * shape.in_orders - 1;
  const int64_t size = shape.radial * in * shape.parts * shape.in_count[0], total = batch * rows;
  // Partial sums over a fixed number of runs of rows, added in order: the bits do not depend on the threads.
  const int64_t runs = std::clamp<int64_t>(total / kRows, 1, 16);
  Tensor partial = torch::stable::new_zeros(a.x, {runs, shape.radial, in, shape.parts, shape.in_count[0]});
  const T *x = a.x.const_data_ptr<T>(), *g = grad.const_data_ptr<T>();
  T* sums = partial.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, runs, 1, [&](int64_t begin, int64_t end) {
    RowScratch<T> scratch(shape);
    for (int64_t run = begin; run < end; ++run)
      for (int64_t i = run * total / runs; i < (run + 1) * total / runs; ++i)
        kernels.weight(shape, graph, x + i / rows * from * shape.in_dim, g + i * shape.out_dim, i % rows,
                       sums + run * size, scratch.view());
  });
  for (int64_t run = 1; run < runs; ++run)
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[run * size + i];
  return torch::stable::clone(torch::stable::select(partial, 0, 0));
}

template <typename T>
Tensor conv_edge(const ConvArguments& a, const Tensor& weight, const Tensor& grad) {
  const DepthwiseKernels<T>& kernels = best_kernels<T>().depthwise;
  const ConvShape shape = uniform_shape(a.types, weight.size(0), kernels.lanes);
  const ConvRows<T> graph = a.view<T>();
  const int64_t batch = a.x.size(0), from = graph.from, rows = graph.rows;
  Tensor out = torch::stable::new_zeros(a.x, {graph.edges, shape.radial});
  const T *x = a.x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>(), *g = grad.const_data_ptr<T>();
  T* radial_grad = out.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, rows, kRows, [&](int64_t begin, int64_t end) {
    RowScratch<T> scratch(shape);
    for (int64_t row = begin; row < end; ++row)
      for (int64_t n = 0; n < batch; ++n)
        kernels.edge(shape, graph, x + n * from * shape.in_dim, g + (n * rows + row) * shape.out_dim, w, row,
                     radial_grad, scratch.view());
  });
  return out;
}

}  // namespace

#define MESHCONV_ENTRY(suffix) depthwise_conv##suffix##_cpu
#define MESHCONV_NAME "depthwise_conv"
#define MESHCONV_CHECK_WEIGHT check_depthwise_weight
#include "../conv_entries.h"

}  // namespace meshconv
