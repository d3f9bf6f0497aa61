// CUDA operators of the depthwise gauge convolution, edge by edge: one thread owns one channel of one row, or of one run
// of rows for the weights, so that there are no atomics and the bits are the same every run.
#include "../depthwise.h"
#include "launch.h"

#include <algorithm>

#include "../operators.h"

namespace meshconv {
namespace {

constexpr int kMaxComponents = 65;  // of orders 0 to 32
constexpr int kThreads = 128;

// Sizes of one call. A plain value: it travels to kernels as it is.
struct Sizes {
  int64_t radial, in, out, channels, batch;  // components 2 N + 1 and 2 M + 1
  MESHCONV_HD int64_t in_dim() const { return in * channels; }
  MESHCONV_HD int64_t out_dim() const { return out * channels; }
  MESHCONV_HD int64_t weight(int64_t b, int64_t i, int64_t j) const { return ((b * in + i) * out + j) * channels; }
};

Sizes sizes_of(const ConvArguments& a, int64_t radial) {
  return {radial, 2 * static_cast<int64_t>(a.types.in.size()) - 1, 2 * static_cast<int64_t>(a.types.out.size()) - 1,
          a.types.in[0], a.x.size(0)};
}

// One channel's components, turned: to[i] = rho(angle) from[i * stride].
template <typename T>
__device__ void turn(int64_t components, T angle, const T* from, int64_t stride, T* to) {
  const Rotation<T> step = rotation(angle);
  Rotation<T> r = step;
  to[0] = from[0];
  for (int64_t i = 1; i < components; i += 2, r = r * step) {
    const T re = from[i * stride], im = from[(i + 1) * stride];
    to[i] = r.c * re - r.s * im;
    to[i + 1] = r.s * re + r.c * im;
  }
}

template <typename T>
__global__ void depthwise_kernel(Sizes s, ConvRows<T> graph, const T* x, const T* weight, T* y) {
  const int64_t total = s.batch * graph.rows * s.channels;
  T u[kMaxComponents], message[kMaxComponents], turned[kMaxComponents], sum[kMaxComponents];
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; t < total;
       t += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t c = t % s.channels, row = t / s.channels % graph.rows, n = t / s.channels / graph.rows;
    for (int64_t j = 0; j < s.out; ++j) sum[j] = 0;
    for (int64_t slot = graph.begin(row); slot < graph.end(row); ++slot) {
      const int64_t e = graph.edge(slot);
      const EdgeAngles<T> angles = edge_angles(graph.angle[e], graph.transporter[e], graph.transpose);
      turn(s.in, angles.into, x + (n * graph.from + graph.neighbour(e)) * s.in_dim() + c, s.channels, u);
      for (int64_t j = 0; j < s.out; ++j) message[j] = 0;
      for (int64_t b = 0; b < s.radial; ++b) {
        const T value = graph.radial[e * s.radial + b];
        for (int64_t i = 0; i < s.in; ++i) {
          const T* w = weight + s.weight(b, i, 0) + c;
          for (int64_t j = 0; j < s.out; ++j) message[j] += value * u[i] * w[j * s.channels];
        }
      }
      turn<T>(s.out, angles.out, message, 1, turned);
      for (int64_t j = 0; j < s.out; ++j) sum[j] += turned[j];
    }
    for (int64_t j = 0; j < s.out; ++j) y[(n * graph.rows + row) * s.out_dim() + j * s.channels + c] = sum[j];
  }
}

// Sums over the rows of a run, one run a block row and one channel a thread; `partial` is [runs][R][I][J][C].
template <typename T>
__global__ void depthwise_weight_kernel(Sizes s, ConvRows<T> graph, const T* x, const T* grad, int64_t run, T* partial) {
  const int64_t c = static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
  if (c >= s.channels) return;
  T u[kMaxComponents], g[kMaxComponents];
  T* out = partial + blockIdx.x * s.radial * s.in * s.out_dim() + c;
  const int64_t total = s.batch * graph.rows, last = min(total, (blockIdx.x + int64_t{1}) * run);
  for (int64_t k = blockIdx.x * run; k < last; ++k) {
    const int64_t n = k / graph.rows, row = k % graph.rows;
    for (int64_t slot = graph.begin(row); slot < graph.end(row); ++slot) {
      const int64_t e = graph.edge(slot);
      const EdgeAngles<T> angles = edge_angles(graph.angle[e], graph.transporter[e], graph.transpose);
      turn(s.in, angles.into, x + (n * graph.from + graph.neighbour(e)) * s.in_dim() + c, s.channels, u);
      turn(s.out, -angles.out, grad + k * s.out_dim() + c, s.channels, g);
      for (int64_t b = 0; b < s.radial; ++b) {
        const T value = graph.radial[e * s.radial + b];
        for (int64_t i = 0; i < s.in; ++i)
          for (int64_t j = 0; j < s.out; ++j) out[s.weight(b, i, j)] += value * u[i] * g[j];
      }
    }
  }
}

template <typename T>
__global__ void depthwise_runs_kernel(int64_t runs, int64_t size, const T* partial, T* out) {
  for (int64_t t = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; t < size;
       t += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    T sum = 0;
    for (int64_t run = 0; run < runs; ++run) sum += partial[run * size + t];
    out[t] = sum;
  }
}

// One warp a row; its lanes share the channels of each edge.
template <typename T>
__global__ void depthwise_edge_kernel(Sizes s, ConvRows<T> graph, const T* x, const T* grad, const T* weight,
                                      T* radial_grad) {
  T u[kMaxComponents], g[kMaxComponents];
  const int lane = threadIdx.x % 32;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * blockDim.x / 32;
  for (int64_t row = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32; row < graph.rows; row += warps)
    for (int64_t slot = graph.begin(row); slot < graph.end(row); ++slot) {
      const int64_t e = graph.edge(slot);
      const EdgeAngles<T> angles = edge_angles(graph.angle[e], graph.transporter[e], graph.transpose);
      for (int64_t b = 0; b < s.radial; ++b) {
        T sum = 0;
        for (int64_t n = 0; n < s.batch; ++n)
          for (int64_t c = lane; c < s.channels; c += 32) {
            turn(s.in, angles.into, x + (n * graph.from + graph.neighbour(e)) * s.in_dim() + c, s.channels, u);
            turn(s.out, -angles.out, grad + (n * graph.rows + row) * s.out_dim() + c, s.channels, g);
            for (int64_t i = 0; i < s.in; ++i)
              for (int64_t j = 0; j < s.out; ++j) sum += weight[s.weight(b, i, j) + c] * u[i] * g[j];
          }
        for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
        if (lane == 0) radial_grad[e * s.radial + b] = sum;
      }
    }
}

template <typename T>
Tensor conv(const ConvArguments& a, const Tensor& weight) {
  const OnDevice device(a.x, "depthwise_conv");
  const Sizes s = sizes_of(a, a.radial.size(1));
  const ConvRows<T> graph = a.view<T>();
  Tensor y = torch::stable::new_empty(a.x, {s.batch, graph.rows, s.out_dim()});
  const int64_t threads = s.batch * graph.rows * s.channels;
  if (threads == 0) return y;
  device.launch(depthwise_kernel<T>, blocks_for(threads, kThreads), kThreads, 0, s, graph, a.x.const_data_ptr<T>(),
                weight.const_data_ptr<T>(), y.mutable_data_ptr<T>());
  return y;
}

template <typename T>
Tensor conv_weight(const ConvArguments& a, const Tensor& grad) {
  check_channels("depthwise_conv_weight", a.types);
  const OnDevice device(a.x, "depthwise_conv_weight");
  const Sizes s = sizes_of(a, a.radial.size(1));
  const ConvRows<T> graph = a.view<T>();
  const int64_t total = s.batch * graph.rows, size = s.radial * s.in * s.out_dim();
  Tensor out = torch::stable::new_zeros(a.x, {s.radial, s.in, s.out, s.channels});
  if (total == 0 || size == 0) return out;
  const int64_t run = std::max<int64_t>(64, (total + 255) / 256), runs = (total + run - 1) / run;
  Tensor partial = torch::stable::new_zeros(a.x, {runs, size});
  const dim3 grid(static_cast<unsigned int>(runs), static_cast<unsigned int>((s.channels + 31) / 32));
  device.launch(depthwise_weight_kernel<T>, grid, 32, 0, s, graph, a.x.const_data_ptr<T>(), grad.const_data_ptr<T>(),
                run, partial.mutable_data_ptr<T>());
  device.launch(depthwise_runs_kernel<T>, blocks_for(size, kThreads), kThreads, 0, runs, size,
                partial.const_data_ptr<T>(), out.mutable_data_ptr<T>());
  return out;
}

template <typename T>
Tensor conv_edge(const ConvArguments& a, const Tensor& weight, const Tensor& grad) {
  const OnDevice device(a.x, "depthwise_conv_edge");
  const Sizes s = sizes_of(a, weight.size(0));
  const ConvRows<T> graph = a.view<T>();
  const int64_t edges = a.edges.count(), radial = s.radial;
  Tensor out = torch::stable::new_zeros(a.x, {edges, radial});
  if (edges == 0) return out;
  device.launch(depthwise_edge_kernel<T>, blocks_for(32 * graph.rows, kThreads), kThreads, 0, s, graph,
                a.x.const_data_ptr<T>(), grad.const_data_ptr<T>(), weight.const_data_ptr<T>(),
                out.mutable_data_ptr<T>());
  return out;
}

}  // namespace

#define MESHCONV_ENTRY(suffix) depthwise_conv##suffix##_cuda
#define MESHCONV_NAME "depthwise_conv"
#define MESHCONV_CHECK_WEIGHT check_depthwise_weight
#include "../conv_entries.h"

}  // namespace meshconv
