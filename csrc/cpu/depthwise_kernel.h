// The depthwise gauge convolution at one row: the moments X of all channels as in gauge_conv_kernel.h, then for each
// channel c a product with its own small matrix,
//
//   y^0 = sum_bi X_0bi W_bi0        y^m = sum_bi (C_mbi + i S_mbi) (W_bi^{m,cos} + i W_bi^{m,sin})
//
// with i over the components 1, cos 1, sin 1, ... of the input. Weights are [R][I][J][C] and channels lie side by side.
// Included once per instruction set, by all_kernels.h, after gauge_conv_kernel.h.
#pragma once

namespace meshconv::MESHCONV_ISA {

// f(V{}, c) for whole vectors of channels from c on, f(T{}, c) for those that are left.
template <typename T, typename F>
inline void each_vector(int64_t channels, F f) {
  using V = typename Simd<T>::type;
  constexpr int64_t L = Simd<T>::lanes;
  int64_t c = 0;
  for (; c + L <= channels; c += L) f(V{}, c);
  for (; c < channels; ++c) f(T{}, c);
}

// Weights of one row's moments: W(b, i, j) is a run of channels, as is a moment X(b, j, i).
struct DepthwiseStrides {
  int64_t radial, in, out, channels;
  explicit DepthwiseStrides(const ConvShape& s)
      : radial(s.radial), in(2 * s.in_orders - 1), out(s.parts), channels(s.in_count[0]) {}
  int64_t weight(int64_t b, int64_t i, int64_t j) const { return ((b * in + i) * out + j) * channels; }
  int64_t moment(int64_t b, int64_t j, int64_t i) const { return ((b * out + j) * in + i) * channels; }
};

template <typename T>
void depthwise_row(const ConvShape& shape, const ConvRows<T>& graph, const T* x, const T* weight, int64_t row, T* y,
                   Scratch<T> scratch) {
  const DepthwiseStrides at(shape);
  const T* moments = scratch.moments;
  Moments<T>{shape, graph, x, scratch.turned, scratch.weights}.gather(row, 1, scratch.moments);
  for (int64_t j = 0; j < at.out; j += j == 0 ? 1 : 2)
    each_vector<T>(at.channels, [&](auto zero, int64_t c) {
      using P = decltype(zero);
      P cosine = zero, sine = zero;
      for (int64_t b = 0; b < at.radial; ++b)
        for (int64_t i = 0; i < at.in; ++i) {
          const P w = load<P>(weight + at.weight(b, i, j) + c), m = load<P>(moments + at.moment(b, j, i) + c);
          cosine += m * w;
          if (j == 0) continue;
          const P v = load<P>(weight + at.weight(b, i, j + 1) + c), s = load<P>(moments + at.moment(b, j + 1, i) + c);
          cosine -= s * v;
          sine += m * v + s * w;
        }
      place<P>(y + j * at.channels + c) = cosine;
      if (j > 0) place<P>(y + (j + 1) * at.channels + c) = sine;
    });
}

// weight_grad += of one row.
template <typename T>
void depthwise_weight_row(const ConvShape& shape, const ConvRows<T>& graph, const T* x, const T* grad, int64_t row,
                          T* weight_grad, Scratch<T> scratch) {
  const DepthwiseStrides at(shape);
  const T* moments = scratch.moments;
  Moments<T>{shape, graph, x, scratch.turned, scratch.weights}.gather(row, 1, scratch.moments);
  for (int64_t j = 0; j < at.out; j += j == 0 ? 1 : 2)
    each_vector<T>(at.channels, [&](auto zero, int64_t c) {
      using P = decltype(zero);
      const P g = load<P>(grad + j * at.channels + c), h = j > 0 ? load<P>(grad + (j + 1) * at.channels + c) : zero;
      for (int64_t b = 0; b < at.radial; ++b)
        for (int64_t i = 0; i < at.in; ++i) {
          const P m = load<P>(moments + at.moment(b, j, i) + c);
          P& w = place<P>(weight_grad + at.weight(b, i, j) + c);
          if (j == 0) {
            w += m * g;
            continue;
          }
          const P s = load<P>(moments + at.moment(b, j + 1, i) + c);
          w += m * g + s * h;
          place<P>(weight_grad + at.weight(b, i, j + 1) + c) += m * h - s * g;
        }
    });
}

// radial_grad += for the edges of one row: the moments' gradients, then their products with each edge's source.
template <typename T>
void depthwise_edge_row(const ConvShape& shape, const ConvRows<T>& graph, const T* x, const T* grad, const T* weight,
                        int64_t row, T* radial_grad, Scratch<T> scratch) {
  const DepthwiseStrides at(shape);
  T* slopes = scratch.moments;
  for (int64_t j = 0; j < at.out; j += j == 0 ? 1 : 2)
    each_vector<T>(at.channels, [&](auto zero, int64_t c) {
      using P = decltype(zero);
      const P g = load<P>(grad + j * at.channels + c), h = j > 0 ? load<P>(grad + (j + 1) * at.channels + c) : zero;
      for (int64_t b = 0; b < at.radial; ++b)
        for (int64_t i = 0; i < at.in; ++i) {
          const P w = load<P>(weight + at.weight(b, i, j) + c);
          if (j == 0) {
            place<P>(slopes + at.moment(b, j, i) + c) = w * g;
            continue;
          }
          const P v = load<P>(weight + at.weight(b, i, j + 1) + c);
          place<P>(slopes + at.moment(b, j, i) + c) = w * g + v * h;
          place<P>(slopes + at.moment(b, j + 1, i) + c) = w * h - v * g;
        }
    });
  const Moments<T> moments{shape, graph, x, scratch.turned, scratch.weights};
  each_edge(shape, graph, graph.begin(row), graph.end(row), [&](int64_t, int64_t e, Rotation<T> into, Rotation<T> step) {
    moments.turn(graph.neighbour(e), into, scratch.turned);
    for (int64_t b = 0; b < at.radial; ++b) {
      T sum = 0;
      Rotation<T> r{1, 0};
      for (int64_t j = 0; j < at.out; ++j) {
        if (j % 2 == 1) r = r * step;
        const T* d = slopes + at.moment(b, j, 0);
        using V = typename Simd<T>::type;
        V lanes = V{};
        T dot = 0;
        each_vector<T>(shape.in_dim, [&](auto zero, int64_t i) {
          using P = decltype(zero);
          if constexpr (sizeof(P) == sizeof(T))
            dot += d[i] * scratch.turned[i];
          else
            lanes += load<P>(d + i) * load<P>(scratch.turned + i);
        });
        for (int l = 0; l < Simd<T>::lanes; ++l) dot += lanes[l];
        sum += dot * (j % 2 == 1 || j == 0 ? r.c : r.s);
      }
      radial_grad[e * at.radial + b] += sum;
    }
  });
}

template <typename T>
constexpr DepthwiseKernels<T> kDepthwiseKernels{MESHCONV_VECTOR_BYTES / sizeof(T), depthwise_row<T>,
                                                depthwise_weight_row<T>, depthwise_edge_row<T>};

}  // namespace meshconv::MESHCONV_ISA
