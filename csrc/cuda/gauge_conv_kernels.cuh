// Kernels of the gauge convolution; csrc/cpu/gauge_conv_kernel.h has the formulas. Moments are laid out alike,
// [J][block][R][D_in], J = 1, cos 1, sin 1, ..., cos M, sin M. Every output element has one owner, which adds in
// the order of the edges: no atomics, the same bits every run.
#pragma once

#include <stdint.h>

#include "../rows.h"
#include "block_memory.h"

namespace meshconv {

constexpr int kMaxOrders = 33;   // orders 0 to 32
constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;
constexpr int kTileEdges = 16;   // edges staged in shared memory at a time, at most
constexpr int kSlice = 512;      // components of a source that one block handles, at most
constexpr int64_t kSharedBytes = 48 * 1024;

// Where each order of the input begins; start[count] is its dimension.
struct Orders {
  int count;
  int64_t start[kMaxOrders + 1];
  MESHCONV_HD int64_t dim() const { return start[count]; }
};

// Component d of a source: its order, and the component that it mixes with, which counts with this sign of the sine.
struct Component {
  int order, sign;
  int64_t at, other;

  MESHCONV_HD Component(const Orders& in, int64_t d) : order(0), sign(0), at(d), other(d) {
    while (d >= in.start[order + 1]) ++order;
    if (order == 0) return;
    const int64_t half = (in.start[order + 1] - in.start[order]) / 2;
    sign = d - in.start[order] < half ? -1 : 1;
    other = d - sign * half;
  }

  // In the edge's frame; powers[n] = e^{i n a} with a the angle into that frame.
  template <typename T>
  MESHCONV_HD T turned(const T* x, const Rotation<T>* powers) const {
    if (order == 0) return x[at];
    const Rotation<T> r = powers[order];
    return r.c * x[at] + static_cast<T>(sign) * r.s * x[other];
  }
};

template <typename T>
MESHCONV_HD void fill_powers(int count, Rotation<T> step, Rotation<T>* powers) {
  Rotation<T> r{T(1), T(0)};
  for (int n = 0; n < count; ++n, r = r * step) powers[n] = r;
}

// Shared memory of moments_kernel for one edge: its neighbour, the powers, u, radial times cos and sin.
template <typename T>
int64_t shared_bytes_per_edge(const Orders& in, int64_t parts, int64_t functions, int64_t slice) {
  return sizeof(int64_t) + (2 * in.count + slice + parts * functions) * sizeof(T);
}

// Moments of the rows [first, first + count) of batch and vertices taken together, for the radial functions
// [b0, b0 + functions); one block a row and slice, whose threads own components of the source.
template <typename T>
__global__ void moments_kernel(Orders in, int parts, int radial, int b0, int functions, ConvRows<T> edges, const T* x,
                               int64_t first, int64_t count, int tile, int slice, T* out) {
  const int width = parts * functions;
  int64_t* neighbour = block_memory<int64_t>();
  Rotation<T>* powers = reinterpret_cast<Rotation<T>*>(neighbour + tile);
  T* weights = reinterpret_cast<T*>(powers + tile * in.count);
  T* turned = weights + tile * width;

  const int64_t v = blockIdx.x, row = (first + v) % edges.rows, dim = in.dim();
  const int64_t d0 = static_cast<int64_t>(blockIdx.y) * slice;
  const int components = static_cast<int>(dim - d0 < slice ? dim - d0 : slice);
  const T* features = x + (first + v) / edges.rows * edges.from * dim;
  const int64_t begin = edges.begin(row), end = edges.end(row);
  int64_t slot = begin;
  do {  // at least once, so that a row without neighbours gets zeros
    const int some = static_cast<int>(end - slot < tile ? end - slot : tile);
    for (int i = threadIdx.x; i < some * functions; i += blockDim.x) {
      const int k = i / functions, b = i % functions;
      const int64_t e = edges.edge(slot + k);
      const T value = edges.radial[e * radial + b0 + b];
      const Rotation<T> step = rotation(edge_angles(edges.angle[e], edges.transporter[e], edges.transpose).out);
      T* w = weights + k * width + b;
      w[0] = value;
      Rotation<T> r = step;
      for (int j = 1; j < parts; j += 2, r = r * step) {
        w[j * functions] = value * r.c;
        w[(j + 1) * functions] = value * r.s;
      }
    }
    for (int k = threadIdx.x; k < some; k += blockDim.x) {
      const int64_t e = edges.edge(slot + k);
      neighbour[k] = edges.neighbour(e);
      const T into = edge_angles(edges.angle[e], edges.transporter[e], edges.transpose).into;
      fill_powers(in.count, rotation(into), powers + k * in.count);
    }
    __syncthreads();
    for (int d = threadIdx.x; d < components; d += blockDim.x) {
      const Component own(in, d0 + d);
      T* u = turned + d;  // of each edge, for this thread alone
      for (int k = 0; k < some; ++k)
        u[k * slice] = own.turned(features + neighbour[k] * dim, powers + k * in.count);
      for (int j = 0; j < parts; ++j)
        for (int b = 0; b < functions; ++b) {
          const T* w = weights + j * functions + b;
          T* moment = out + ((j * count + v) * radial + b0 + b) * dim + d0 + d;
          T sum = slot == begin ? T(0) : *moment;
          for (int k = 0; k < some; ++k) sum += w[k * width] * u[k * slice];
          *moment = sum;
        }
    }
    __syncthreads();  // before the next edges overwrite these
    slot += some;
  } while (slot < end);
}

// Gradients of the radial functions on the edges of the rows [first, first + count), one warp an edge at a time.
// `moments` holds the gradients of the moments of these rows.
template <typename T>
__global__ void edge_kernel(Orders in, int parts, int radial, ConvRows<T> edges, const T* x, const T* moments,
                            int64_t first, int64_t count, T* out) {
  __shared__ Rotation<T> all_powers[kWarps][kMaxOrders];
  __shared__ T all_factors[kWarps][2 * kMaxOrders];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Rotation<T>* powers = all_powers[warp];
  T* factors = all_factors[warp];
  const int64_t v = blockIdx.x, dim = in.dim(), stride = count * radial * dim;
  const int64_t end = edges.end(first + v);
  for (int64_t slot = edges.begin(first + v) + warp; slot < end; slot += kWarps) {
    const int64_t e = edges.edge(slot);
    if (lane == 0) {
      const EdgeAngles<T> angles = edge_angles(edges.angle[e], edges.transporter[e], edges.transpose);
      fill_powers(in.count, rotation(angles.into), powers);
      const Rotation<T> step = rotation(angles.out);
      Rotation<T> r = step;
      factors[0] = T(1);
      for (int j = 1; j < parts; j += 2, r = r * step) {
        factors[j] = r.c;
        factors[j + 1] = r.s;
      }
    }
    __syncwarp();
    const T* source = x + edges.neighbour(e) * dim;
    for (int b = 0; b < radial; ++b) {
      T sum = 0;
      for (int64_t d = lane; d < dim; d += 32) {
        const Component own(in, d);
        const T* moment = moments + (v * radial + b) * dim + d;
        T weighted = 0;
        for (int j = 0; j < parts; ++j) weighted += factors[j] * moment[j * stride];
        sum += weighted * own.turned(source, powers);
      }
      for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
      if (lane == 0) out[e * radial + b] += sum;
    }
    __syncwarp();  // before lane 0 overwrites powers and factors
  }
}

// y of order m from the products of its cosine and sine moments; channels C, row length D_out.
template <typename T>
__global__ void combine_kernel(bool scalar, int64_t channels, int64_t count, const T* product, int64_t out_dim, T* y) {
  const int64_t inner = scalar ? channels : 2 * channels;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < count * inner;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t v = i / inner, column = i % inner;
    const T* sine = product + (count + v) * inner;
    T value = product[i];
    if (!scalar) value += column < channels ? -sine[channels + column] : sine[column - channels];
    y[v * out_dim + column] = value;
  }
}

// Gradient rows that meet the moments of order m: [g_cos | g_sin] for the cosines, then [g_sin | -g_cos].
template <typename T>
__global__ void stack_kernel(bool scalar, int64_t channels, int64_t count, const T* grad, int64_t out_dim, T* out) {
  const int64_t inner = scalar ? channels : 2 * channels, total = (scalar ? 1 : 2) * count * inner;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < total;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t row = i / inner, column = i % inner;
    const T* g = grad + row % count * out_dim;
    if (row < count)
      out[i] = g[column];
    else
      out[i] = column < channels ? g[channels + column] : -g[column - channels];
  }
}

// to[:, :columns] += from, for rows of length row_length and columns.
template <typename T>
__global__ void add_kernel(int64_t rows, int64_t columns, const T* from, int64_t row_length, T* to) {
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < rows * columns;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    to[i / columns * row_length + i % columns] += from[i];
}

}  // namespace meshconv
