// CPU operators of the gauge convolution: choice of instruction set, packing of the weights, blocks and threads.
// Every output row has one owner and blocks do not depend on the number of threads: the same bits every run.
#include "gauge_conv.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "../checks.h"
#include "../operators.h"
#include "isa.h"

namespace meshconv {
namespace {

struct Free {
  void operator()(void* p) const { ::operator delete[](p, std::align_val_t{64}); }
};

template <typename T>
using Buffer = std::unique_ptr<T[], Free>;

template <typename T>
Buffer<T> buffer(int64_t count) {
  return Buffer<T>(static_cast<T*>(::operator new[](std::max<int64_t>(count, 1) * sizeof(T), std::align_val_t{64})));
}

int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

ConvShape make_shape(const ConvTypes& types, int64_t radial, int64_t lanes) {
  ConvShape s{};
  s.radial = radial;
  auto fill = [](const std::vector<int64_t>& counts, int64_t* count, int64_t* start) {
    int64_t dim = 0;
    for (size_t m = 0; m < counts.size(); ++m) {
      count[m] = counts[m];
      start[m] = dim;
      dim += (m == 0 ? 1 : 2) * counts[m];
    }
    return dim;
  };
  s.in_orders = static_cast<int64_t>(types.in.size());
  s.out_orders = static_cast<int64_t>(types.out.size());
  s.in_dim = fill(types.in, s.in_count, s.in_start);
  s.out_dim = fill(types.out, s.out_count, s.out_start);
  s.parts = 2 * s.out_orders - 1;
  s.panel = 2 * lanes;
  s.in_padded = round_up(s.in_dim, s.panel);
  int64_t widest = 0;
  for (int64_t m = 0; m < s.out_orders; ++m) widest = std::max(widest, (m == 0 ? 1 : 2) * s.out_count[m]);
  s.grad_padded = round_up(widest, s.panel);
  s.rows_per_source = radial * (2 * s.in_orders - 1);
  return s;
}

// Vertices a block: its moments, which are written once and read once per output order, should stay in the
// second-level cache beside a panel of weights.
template <typename T>
int64_t block_size(const ConvShape& s) {
  const int64_t bytes = s.parts * s.radial * s.in_dim * static_cast<int64_t>(sizeof(T));
  return std::clamp<int64_t>(393216 / std::max<int64_t>(bytes, 1), 4, 128);
}

// Copy weight [R * D_in, D_out] into panels of `panel` columns per output order, padded with zeros. Transposed, the
// panels hold W^T of each order and radial function instead, for the way from the output's gradient to the moments'.
template <typename T>
Buffer<T> pack(ConvShape& s, const T* weight, bool transposed) {
  const int64_t depth = s.radial * s.in_dim;
  int64_t total = 0;
  for (int64_t m = 0; m < s.out_orders; ++m) {
    const int64_t inner = (m == 0 ? 1 : 2) * s.out_count[m];
    s.packed_start[m] = total;
    total += transposed ? s.radial * inner * s.in_padded : depth * round_up(inner, s.panel);
  }
  Buffer<T> packed = buffer<T>(total);
  std::fill(packed.get(), packed.get() + total, T(0));
  for (int64_t m = 0; m < s.out_orders; ++m) {
    const int64_t inner = (m == 0 ? 1 : 2) * s.out_count[m];
    T* to = packed.get() + s.packed_start[m];
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t i = 0; i < inner; ++i) {
        const T w = weight[k * s.out_dim + s.out_start[m] + i];
        if (transposed) {
          const int64_t b = k / s.in_dim, d = k % s.in_dim;
          to[b * inner * s.in_padded + (d / s.panel * inner + i) * s.panel + d % s.panel] = w;
        } else {
          to[(i / s.panel * depth + k) * s.panel + i % s.panel] = w;
        }
      }
  }
  return packed;
}

// Weight [R * D_in, D_out] in panels over all of D_out at once, for the product first.
template <typename T>
Buffer<T> pack_all(const ConvShape& s, const T* weight) {
  const int64_t depth = s.radial * s.in_dim, total = depth * round_up(s.out_dim, s.panel);
  Buffer<T> packed = buffer<T>(total);
  std::fill(packed.get(), packed.get() + total, T(0));
  for (int64_t k = 0; k < depth; ++k)
    for (int64_t i = 0; i < s.out_dim; ++i)
      packed[(i / s.panel * depth + k) * s.panel + i % s.panel] = weight[k * s.out_dim + i];
  return packed;
}

// Terms of the point itself: blocks of a matrix [D_in, D_out] between equal orders, in panels, and a constant.
template <typename T>
struct PointTerms {
  Buffer<T> packed;
  const T* bias;
  int64_t biases;

  PointTerms(const ConvShape& s, const T* point, const T* bias, int64_t biases) : bias(bias), biases(biases) {
    const int64_t orders = std::min(s.in_orders, s.out_orders);
    int64_t total = 0, done = 0;
    for (int64_t m = 0; m < orders; ++m)
      total += (m == 0 ? 1 : 2) * s.in_count[m] * round_up((m == 0 ? 1 : 2) * s.out_count[m], s.panel);
    packed = buffer<T>(total);
    std::fill(packed.get(), packed.get() + total, T(0));
    for (int64_t m = 0; m < orders; ++m) {
      const int64_t parts = m == 0 ? 1 : 2, depth = parts * s.in_count[m], width = parts * s.out_count[m];
      for (int64_t k = 0; k < depth; ++k)
        for (int64_t i = 0; i < width; ++i)
          packed[done + (i / s.panel * depth + k) * s.panel + i % s.panel] =
              point[(s.in_start[m] + k) * s.out_dim + s.out_start[m] + i];
      done += depth * round_up(width, s.panel);
    }
  }

  void add(const BlockKernels<T>& kernels, const ConvShape& s, const T* x, int64_t count, T* y) const {
    kernels.point(s, x, packed.get(), count, y);
    for (int64_t v = 0; biases > 0 && v < count; ++v)
      for (int64_t i = 0; i < biases; ++i) y[v * s.out_dim + i] += bias[i];
  }
};

// Whether to multiply by the weights before the sum over edges: if that takes fewer multiplications a vertex, and the
// products of all sources no more memory than x. Dense products count by whole vectors of columns; the short sums over
// products run at about a quarter of the speed of the moments'.
bool product_first(const ConvShape& s, int64_t valence) {
  const int64_t lanes = s.panel / 2;
  int64_t moments = valence * s.in_dim * (s.radial * s.parts + 4);
  int64_t products = 4 * valence * s.out_dim * (s.rows_per_source + 4);
  for (int64_t m = 0; m < s.out_orders; ++m)
    moments += s.radial * s.in_dim * (m == 0 ? 1 : 2) * round_up((m == 0 ? 1 : 2) * s.out_count[m], lanes);
  for (int64_t n = 0; n < s.in_orders; ++n)
    products += s.radial * (n == 0 ? 1 : 4) * s.in_count[n] * round_up(s.out_dim, lanes);
  return s.out_dim * s.rows_per_source <= s.in_dim && products < moments;
}

template <typename T>
struct ThreadScratch {
  Buffer<T> turned, weights, moments, product;
  ThreadScratch(const ConvShape& s, int64_t block)
      : turned(buffer<T>(64 * std::max(s.in_padded, s.out_dim) + s.panel)),
        weights(buffer<T>(64 * s.parts * s.radial)),
        moments(buffer<T>(block * s.parts * s.radial * s.in_dim + s.panel)),
        product(buffer<T>(2 * block * s.grad_padded)) {
    // Whole vectors are read where rows are padded: the padding must hold numbers, which ones does not matter.
    std::fill(turned.get(), turned.get() + 64 * s.in_padded, T(0));
    std::fill(product.get(), product.get() + 2 * block * s.grad_padded, T(0));
  }
  Scratch<T> view() const { return {turned.get(), weights.get(), moments.get(), product.get()}; }
};

template <typename T>
Tensor conv_product_first(const ConvArguments& a, const Tensor& weight, const ConvShape& shape,
                          const ConvRows<T>& graph, const BlockKernels<T>& kernels, const PointTerms<T>* point) {
  const int64_t batch = a.x.size(0), from = graph.from, rows = graph.rows, block = 64;
  const int64_t source_blocks = (from + block - 1) / block, blocks = (rows + block - 1) / block;
  Tensor y = torch::stable::new_empty(a.x, {batch, rows, shape.out_dim});
  const Buffer<T> packed = pack_all<T>(shape, weight.const_data_ptr<T>());
  const Buffer<T> products = buffer<T>(from * shape.rows_per_source * shape.out_dim);
  for (int64_t n = 0; n < batch; ++n) {
    const T* x = a.x.const_data_ptr<T>() + n * from * shape.in_dim;
    T* out = y.mutable_data_ptr<T>() + n * rows * shape.out_dim;
    torch::stable::parallel_for(0, source_blocks, 1, [&](int64_t begin, int64_t end) {
      const ThreadScratch<T> scratch(shape, block);
      for (int64_t i = begin * block; i < std::min(end * block, from); i += block)
        kernels.multiply(shape, x + i * shape.in_dim, packed.get(), std::min(block, from - i),
                         products.get() + i * shape.rows_per_source * shape.out_dim, scratch.view());
    });
    torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
      const ThreadScratch<T> scratch(shape, block);
      for (int64_t i = begin * block; i < std::min(end * block, rows); i += block) {
        kernels.collect(shape, graph, products.get(), i, std::min(block, rows - i), out, scratch.view());
        if (point) point->add(kernels, shape, x + i * shape.in_dim, std::min(block, rows - i), out + i * shape.out_dim);
      }
    });
  }
  return y;
}

template <typename T>
Tensor conv_and_point(const ConvArguments& a, const Tensor& weight, const Tensor* matrix, const Tensor* bias) {
  const BlockKernels<T>& kernels = best_kernels<T>().conv;
  ConvShape shape = make_shape(a.types, a.radial.size(1), kernels.lanes);
  const ConvRows<T> graph = a.view<T>();
  std::unique_ptr<const PointTerms<T>> point;
  if (matrix)
    point = std::make_unique<const PointTerms<T>>(shape, matrix->const_data_ptr<T>(), bias->const_data_ptr<T>(),
                                                  bias->size(0));
  const int64_t batch = a.x.size(0), from = graph.from, rows = graph.rows;
  if (product_first(shape, graph.edges / std::max<int64_t>(rows, 1)))
    return conv_product_first<T>(a, weight, shape, graph, kernels, point.get());
  Tensor y = torch::stable::new_empty(a.x, {batch, rows, shape.out_dim});
  const Buffer<T> packed = pack<T>(shape, weight.const_data_ptr<T>(), false);
  const int64_t block = block_size<T>(shape), blocks = (rows + block - 1) / block;
  const T* x = a.x.const_data_ptr<T>();
  T* out = y.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, batch * blocks, 1, [&](int64_t begin, int64_t end) {
    const ThreadScratch<T> scratch(shape, block);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / blocks, first = i % blocks * block;
      const int64_t some = std::min(block, rows - first);
      kernels.conv(shape, graph, x + n * from * shape.in_dim, packed.get(), first, some, out + n * rows * shape.out_dim,
                   scratch.view());
      if (point)  // the rows of y are still in cache
        point->add(kernels, shape, x + (n * from + first) * shape.in_dim, some, out + (n * rows + first) * shape.out_dim);
    }
  });
  return y;
}

template <typename T>
Tensor conv(const ConvArguments& a, const Tensor& weight) {
  return conv_and_point<T>(a, weight, nullptr, nullptr);
}

template <typename T>
Tensor conv_weight(const ConvArguments& a, const Tensor& grad) {
  const BlockKernels<T>& kernels = best_kernels<T>().conv;
  const ConvShape shape = make_shape(a.types, a.radial.size(1), kernels.lanes);
  const ConvRows<T> graph = a.view<T>();
  const int64_t batch = a.x.size(0), from = graph.from, rows = graph.rows;
  const int64_t size = shape.radial * shape.in_dim * shape.out_dim;
  const int64_t block = block_size<T>(shape), blocks = (rows + block - 1) / block;
  // Partial sums over a fixed number of runs of blocks, added in order: the bits do not depend on the threads.
  const int64_t runs = std::min<int64_t>(16, std::max<int64_t>(1, batch * blocks));
  Tensor partial = torch::stable::new_zeros(a.x, {runs, shape.radial, shape.in_dim, shape.out_dim});
  const T* x = a.x.const_data_ptr<T>();
  const T* g = grad.const_data_ptr<T>();
  T* sums = partial.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, runs, 1, [&](int64_t begin, int64_t end) {
    const ThreadScratch<T> scratch(shape, block);
    for (int64_t run = begin; run < end; ++run)
      for (int64_t i = run * batch * blocks / runs; i < (run + 1) * batch * blocks / runs; ++i) {
        const int64_t n = i / blocks, first = i % blocks * block;
        kernels.weight(shape, graph, x + n * from * shape.in_dim, g + n * rows * shape.out_dim, first,
                       std::min(block, rows - first), sums + run * size, scratch.view());
      }
  });
  for (int64_t run = 1; run < runs; ++run)
    for (int64_t i = 0; i < size; ++i) sums[i] += sums[run * size + i];
  return torch::stable::clone(torch::stable::select(partial, 0, 0));
}

template <typename T>
Tensor conv_edge(const ConvArguments& a, const Tensor& weight, const Tensor& grad) {
  const BlockKernels<T>& kernels = best_kernels<T>().conv;
  ConvShape shape = make_shape(a.types, weight.size(0), kernels.lanes);
  ConvRows<T> graph = a.view<T>();
  const int64_t batch = a.x.size(0), from = graph.from, rows = graph.rows;
  Tensor radial_grad = torch::stable::new_zeros(a.x, {graph.edges, shape.radial});
  const Buffer<T> packed = pack<T>(shape, weight.const_data_ptr<T>(), true);
  const int64_t block = block_size<T>(shape), blocks = (rows + block - 1) / block;
  const T* x = a.x.const_data_ptr<T>();
  const T* g = grad.const_data_ptr<T>();
  T* out = radial_grad.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
    const ThreadScratch<T> scratch(shape, block);
    for (int64_t i = begin; i < end; ++i)
      for (int64_t n = 0; n < batch; ++n)
        kernels.edge(shape, graph, x + n * from * shape.in_dim, g + n * rows * shape.out_dim, packed.get(), i * block,
                     std::min(block, rows - i * block), out, scratch.view());
  });
  return radial_grad;
}

}  // namespace

Tensor gauge_conv_point_cpu(Tensor x, Tensor weight, Tensor radial, Tensor point, Tensor bias, Tensor angle,
                            Tensor transporter, Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, Tensor src_edge,
                            std::vector<int64_t> in_type, std::vector<int64_t> out_type, bool transpose) {
  const char* op = "gauge_conv_point";
  const ConvArguments a = check_arguments(op, x, radial, angle, transporter, dst_ptr, src, dst, src_ptr, src_edge,
                                          in_type, out_type, transpose);
  const Tensor w = check_weight(op, a, weight, a.radial.size(1));
  STD_TORCH_CHECK(a.edges.rows() == a.edges.from(), op, ": ", a.edges.from(), " sources are not the ", a.edges.rows(),
                  " targets");
  const Tensor p = check_tensor(op, "point", point, x, false, {ConvTypes::dim(in_type), ConvTypes::dim(out_type)});
  const Tensor b = check_tensor(op, "bias", bias, x, false, {-1});
  STD_TORCH_CHECK(b.size(0) <= out_type[0], op, ": bias of ", b.size(0), " for ", out_type[0], " scalars");
  return x.scalar_type() == torch::headeronly::ScalarType::Float ? conv_and_point<float>(a, w, &p, &b)
                                                                 : conv_and_point<double>(a, w, &p, &b);
}

#define MESHCONV_ENTRY(suffix) gauge_conv##suffix##_cpu
#define MESHCONV_NAME "gauge_conv"
#define MESHCONV_CHECK_WEIGHT check_weight
#include "../conv_entries.h"

}  // namespace meshconv
