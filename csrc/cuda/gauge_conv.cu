// CUDA operators of the gauge convolution: moments of a chunk of rows, then torch's dense product on them. Memory
// is bounded by the chunk, and chunks follow each other in order on one stream: the same bits every run.
#include "gauge_conv_kernels.cuh"
#include "launch.h"

#include <algorithm>

#include "../checks.h"
#include "../operators.h"

namespace meshconv {
namespace {

#ifndef MESHCONV_CHUNK_BYTES
#define MESHCONV_CHUNK_BYTES (int64_t{128} << 20)
#endif

// One operator call: sizes, scratch, and the steps that the three operators share.
template <typename T>
struct Call {
  const ConvArguments& a;
  OnDevice device;
  Orders in{};
  ConvRows<T> edges;
  int64_t radial, parts, depth, rows, from, total, out_dim, widest = 0, chunk;
  Tensor moments, product;

  Call(const char* name, const ConvArguments& arguments, int64_t radial_functions)
      : a(arguments),
        device(a.x, name),
        radial(radial_functions),
        parts(2 * static_cast<int64_t>(a.types.out.size()) - 1),
        rows(a.edges.rows()),
        from(a.x.size(1)),
        total(a.x.size(0) * rows),
        out_dim(ConvTypes::dim(a.types.out)) {
    in.count = static_cast<int>(a.types.in.size());
    for (int m = 0; m < in.count; ++m) in.start[m + 1] = in.start[m] + (m == 0 ? 1 : 2) * a.types.in[m];
    depth = radial * in.dim();
    for (size_t m = 0; m < a.types.out.size(); ++m) widest = std::max(widest, inner(m));
    edges = a.view<T>();
    const int64_t row_bytes = (parts * depth + 2 * widest) * static_cast<int64_t>(sizeof(T));
    chunk = std::clamp<int64_t>(MESHCONV_CHUNK_BYTES / std::max<int64_t>(row_bytes, 1), 1, std::max<int64_t>(total, 1));
    moments = torch::stable::new_empty(a.x, {parts * chunk * depth});
    product = torch::stable::new_empty(a.x, {2 * chunk * widest});
  }

  int64_t orders() const { return static_cast<int64_t>(a.types.out.size()); }
  int64_t channels(int64_t m) const { return a.types.out[static_cast<size_t>(m)]; }
  int64_t inner(int64_t m) const { return (m == 0 ? 1 : 2) * channels(m); }
  int64_t out_start(int64_t m) const { return m == 0 ? 0 : channels(0) + 2 * sum_below(m); }
  bool empty() const { return total == 0 || depth == 0 || out_dim == 0; }

  // Moments of order m of a chunk, [rows of both parts, R D_in], and the products that go with them.
  Tensor moment_rows(int64_t m, int64_t count) {
    return matrix(moments, (m == 0 ? 0 : 2 * m - 1) * count * depth, (m == 0 ? 1 : 2) * count, depth);
  }
  Tensor product_rows(int64_t m, int64_t count) { return matrix(product, 0, (m == 0 ? 1 : 2) * count, inner(m)); }

  // Columns of order m of a weight, [R D_in, inner]; a view.
  Tensor columns(const Tensor& weight, int64_t m) const {
    Tensor flat = torch::stable::view(weight, {depth, out_dim});
    return torch::stable::narrow(flat, 1, out_start(m), inner(m));
  }

  // The functions of as many at a time as leave room for one edge in shared memory: nearly always all of them.
  void gather(int64_t first, int64_t count) {
    const int64_t slices = (in.dim() + kSlice - 1) / kSlice, slice = (in.dim() + slices - 1) / slices;
    const int64_t bare = shared_bytes_per_edge<T>(in, parts, 0, slice);
    const int64_t room = (kSharedBytes - bare) / (parts * static_cast<int64_t>(sizeof(T)));
    const dim3 grid(static_cast<unsigned int>(count), static_cast<unsigned int>(slices));
    const int64_t turns = (slice + 255) / 256;  // at most 256 threads, as few as take no turn more
    const unsigned int threads = static_cast<unsigned int>(((slice + turns - 1) / turns + 31) / 32 * 32);
    for (int64_t b = 0; b < radial; b += room) {
      const int64_t functions = std::min(room, radial - b);
      const int64_t bytes = shared_bytes_per_edge<T>(in, parts, functions, slice);
      const int64_t tile = std::clamp<int64_t>(kSharedBytes / bytes, 1, kTileEdges);
      device.launch(moments_kernel<T>, grid, threads, tile * bytes, in, parts, radial, b, functions, edges,
                    a.x.template const_data_ptr<T>(), first, count, tile, slice,
                    moments.template mutable_data_ptr<T>());
    }
  }

  void stack_gradient(int64_t m, const Tensor& grad, int64_t first, int64_t count) {
    const T* g = grad.const_data_ptr<T>() + first * out_dim + out_start(m);
    device.launch(stack_kernel<T>, blocks_for(2 * count * inner(m), kThreads), kThreads, 0, m == 0, channels(m), count,
                  g, out_dim, product.template mutable_data_ptr<T>());
  }

 private:
  int64_t sum_below(int64_t m) const {
    int64_t sum = 0;
    for (int64_t n = 1; n < m; ++n) sum += channels(n);
    return sum;
  }
};

template <typename T>
Tensor conv(const ConvArguments& a, const Tensor& weight) {
  Call<T> call("gauge_conv", a, a.radial.size(1));
  Tensor y = torch::stable::new_zeros(a.x, {a.x.size(0), call.rows, call.out_dim});
  if (call.empty()) return y;
  for (int64_t first = 0; first < call.total; first += call.chunk) {
    const int64_t count = std::min(call.chunk, call.total - first);
    call.gather(first, count);
    for (int64_t m = 0; m < call.orders(); ++m) {
      if (call.channels(m) == 0) continue;
      multiply(call.moment_rows(m, count), call.columns(weight, m), call.product_rows(m, count));
      call.device.launch(combine_kernel<T>, blocks_for(count * call.inner(m), kThreads), kThreads, 0, m == 0,
                         call.channels(m), count, call.product.template const_data_ptr<T>(), call.out_dim,
                         y.mutable_data_ptr<T>() + first * call.out_dim + call.out_start(m));
    }
  }
  return y;
}

template <typename T>
Tensor conv_weight(const ConvArguments& a, const Tensor& grad) {
  Call<T> call("gauge_conv_weight", a, a.radial.size(1));
  Tensor weight_grad = torch::stable::new_zeros(a.x, {a.radial.size(1), call.in.dim(), call.out_dim});
  if (call.empty()) return weight_grad;
  Tensor part = torch::stable::new_empty(a.x, {call.depth * call.widest});
  for (int64_t first = 0; first < call.total; first += call.chunk) {
    const int64_t count = std::min(call.chunk, call.total - first);
    call.gather(first, count);
    for (int64_t m = 0; m < call.orders(); ++m) {
      if (call.channels(m) == 0) continue;
      call.stack_gradient(m, grad, first, count);
      const Tensor rows = call.moment_rows(m, count);
      multiply(torch::stable::transpose(rows, 0, 1), call.product_rows(m, count),
               matrix(part, 0, call.depth, call.inner(m)));
      call.device.launch(add_kernel<T>, blocks_for(call.depth * call.inner(m), kThreads), kThreads, 0, call.depth,
                         call.inner(m), part.const_data_ptr<T>(), call.out_dim,
                         weight_grad.mutable_data_ptr<T>() + call.out_start(m));
    }
  }
  return weight_grad;
}

template <typename T>
Tensor conv_edge(const ConvArguments& a, const Tensor& weight, const Tensor& grad) {
  Call<T> call("gauge_conv_edge", a, weight.size(0));
  Tensor radial_grad = torch::stable::new_zeros(a.x, {a.edges.count(), call.radial});
  if (call.empty()) return radial_grad;
  const int64_t dim = call.in.dim();
  for (int64_t first = 0; first < call.rows; first += call.chunk)
    for (int64_t n = 0; n < a.x.size(0); ++n) {  // an edge's sum over the batch: one launch after the other
      const int64_t count = std::min(call.chunk, call.rows - first);
      for (int64_t m = 0; m < call.orders(); ++m) {
        Tensor rows = call.moment_rows(m, count);
        if (call.channels(m) == 0) {
          torch::stable::zero_(rows);
          continue;
        }
        call.stack_gradient(m, grad, n * call.rows + first, count);
        multiply(call.product_rows(m, count), torch::stable::transpose(call.columns(weight, m), 0, 1), rows);
      }
      call.device.launch(edge_kernel<T>, static_cast<unsigned int>(count), kThreads, 0, call.in, call.parts, call.radial,
                         call.edges, a.x.const_data_ptr<T>() + n * call.from * dim,
                         call.moments.template const_data_ptr<T>(), first, count, radial_grad.mutable_data_ptr<T>());
    }
  return radial_grad;
}

}  // namespace

#define MESHCONV_ENTRY(suffix) gauge_conv##suffix##_cuda
#define MESHCONV_NAME "gauge_conv"
#define MESHCONV_CHECK_WEIGHT check_weight
#include "../conv_entries.h"

}  // namespace meshconv
