// The gauge convolution over one block of targets. With u_e = rho_in(g - theta) x_src, the source's components in
// the edge's frame, and W_b the dense kernel of radial function b,
//
//   y^0 = sum_b X_0b W_b^0                        X_0b = sum_e R_b u_e
//   y^m = sum_b (C_mb + i S_mb) (W_b^{m,cos} + i W_b^{m,sin})   C_mb + i S_mb = sum_e R_b e^{i m theta} u_e
//
// so the edges meet only the moments X, and each vertex pays one dense product whatever its valence.
// Included once per instruction set, by all_kernels.h; see there for why no header is included here.
#pragma once

namespace meshconv::MESHCONV_ISA {

// Moments are laid out [R][J][block][D_in], J = 1, cos 1, sin 1, ..., cos M, sin M: a vertex's moments are evenly spaced
// rows, so that one product makes them all, and so are the rows of one order, both parts and all vertices.
template <typename T>
struct Moments {
  const ConvShape& shape;
  const ConvRows<T>& graph;
  const T* x;       // features of one batch entry
  T* turned;        // [kEdges, padded D_in] scratch: u of some edges
  T* weights;       // [kEdges, R * J] scratch: R_b times cos or sin

  static constexpr int64_t kEdges = 64;

  // Components of the edge's source in the edge's own frame. In whole vectors, which reach over the end of what they
  // turn into what is turned after it, or one vector beyond u's row; the last rows of x have nothing behind them to read.
  void turn(int64_t neighbour, Rotation<T> step, T* __restrict u) const {
    const T* from = x + neighbour * shape.in_dim;
    if ((graph.from - 1 - neighbour) * shape.in_dim >= Simd<T>::lanes)
      turn_in<typename Simd<T>::type>(from, step, u);
    else
      turn_in<T>(from, step, u);
  }

  template <typename V>
  void turn_in(const T* __restrict from, Rotation<T> step, T* __restrict u) const {
    constexpr int L = sizeof(V) / sizeof(T);
    for (int64_t o = 0; o < shape.in_count[0]; o += L) place<V>(u + o) = load<V>(from + o);
    Rotation<T> r = step;
    for (int64_t n = 1; n < shape.in_orders; ++n, r = r * step) {
      const int64_t count = shape.in_count[n];
      const T* c = from + shape.in_start[n];
      T* __restrict to = u + shape.in_start[n];
      for (int64_t i = 0; i < count; i += L) place<V>(to + i) = r.c * load<V>(c + i) - r.s * load<V>(c + count + i);
      for (int64_t i = 0; i < count; i += L)
        place<V>(to + count + i) = r.s * load<V>(c + i) + r.c * load<V>(c + count + i);
    }
  }

  // Fill `turned` and `weights` for up to kEdges slots of one vertex.
  void fill(int64_t slot, int64_t count) const {
    const int64_t R = shape.radial, width = shape.parts * R;
    // Rows of the sources lie anywhere: ask for some while those before them are turned.
    constexpr int64_t kAhead = 4;
    const auto ask = [&](int64_t k) {
      const T* row = x + graph.neighbour(graph.edge(slot + k)) * shape.in_dim;
      for (int64_t i = 0; i < shape.in_dim; i += 64 / sizeof(T)) __builtin_prefetch(row + i);
    };
    for (int64_t k = 0; k < kAhead && k < count; ++k) ask(k);
    each_edge(shape, graph, slot, slot + count, [&](int64_t k, int64_t e, Rotation<T> into, Rotation<T> step) {
      if (k + kAhead < count) ask(k + kAhead);
      turn(graph.neighbour(e), into, turned + k * shape.in_padded);
      const T* radial = graph.radial + e * R;
      T* w = weights + k * width;
      for (int64_t b = 0; b < R; ++b) w[b * shape.parts] = radial[b];
      Rotation<T> r = step;
      for (int64_t m = 1; m < shape.out_orders; ++m, r = r * step)
        for (int64_t b = 0; b < R; ++b) {
          w[b * shape.parts + 2 * m - 1] = radial[b] * r.c;
          w[b * shape.parts + 2 * m] = radial[b] * r.s;
        }
    });
  }

  // All moments of the vertices [first, first + count).
  void gather(int64_t first, int64_t count, T* out) const {
    const int64_t D = shape.in_dim, width = shape.parts * shape.radial;
    for (int64_t v = 0; v < count; ++v) {
      const int64_t begin = graph.begin(first + v), end = graph.end(first + v);
      int64_t slot = begin;
      do {  // at least once, so that a vertex without neighbours gets zeros
        const int64_t some = end - slot < kEdges ? end - slot : kEdges;
        fill(slot, some);
        gemm<T>(width, D, some, weights, 1, width, turned, shape.in_padded, 0, out + v * D, count * D, slot != begin);
        slot += some;
      } while (slot < end);
    }
  }
};

// Where the rows of function b and output order m begin: `count` vertices, twice as many rows from order 1 on.
inline int64_t moment_start(const ConvShape& shape, int64_t b, int64_t m, int64_t count) {
  return (b * shape.parts + (m == 0 ? 0 : 2 * m - 1)) * count * shape.in_dim;
}

// Gradient rows of order m for the products with the moments' rows: [g_cos | g_sin] for the cosine moments, then
// [g_sin | -g_cos] for the sine moments; g_0 alone at order 0.
template <typename T>
void stack_gradient(const ConvShape& shape, int64_t m, int64_t count, const T* grad, T* out) {
  const int64_t C = shape.out_count[m];
  for (int64_t v = 0; v < count; ++v) {
    const T* g = grad + v * shape.out_dim + shape.out_start[m];
    T* top = out + v * shape.grad_padded;
    if (m == 0) {
      for (int64_t i = 0; i < C; ++i) top[i] = g[i];
      continue;
    }
    T* bottom = out + (count + v) * shape.grad_padded;
    for (int64_t i = 0; i < C; ++i) {
      top[i] = g[i];
      top[C + i] = g[C + i];
      bottom[i] = g[C + i];
      bottom[C + i] = -g[i];
    }
  }
}

template <typename T>
void conv_block(const ConvShape& shape, const ConvRows<T>& graph, const T* x, const T* packed, int64_t first,
                int64_t count, T* y, Scratch<T> scratch) {
  const int64_t D = shape.in_dim, panel_stride = shape.panel * shape.radial * D;
  Moments<T>{shape, graph, x, scratch.turned, scratch.weights}.gather(first, count, scratch.moments);
  for (int64_t m = 0; m < shape.out_orders; ++m) {
    const int64_t C = shape.out_count[m], parts = m == 0 ? 1 : 2;
    if (C == 0) continue;
    T* to = y + first * shape.out_dim + shape.out_start[m];
    for (int64_t b = 0; b < shape.radial; ++b)
      gemm<T>(parts * count, parts * C, D, scratch.moments + moment_start(shape, b, m, count), D, 1,
              packed + shape.packed_start[m] + b * D * shape.panel, shape.panel, panel_stride,
              m == 0 ? to : scratch.product, m == 0 ? shape.out_dim : shape.grad_padded, b > 0);
    if (m == 0) continue;
    for (int64_t v = 0; v < count; ++v) {
      const T* __restrict cosine = scratch.product + v * shape.grad_padded;
      const T* __restrict sine = scratch.product + (count + v) * shape.grad_padded;
      T* __restrict out = to + v * shape.out_dim;
      for (int64_t i = 0; i < C; ++i) {
        out[i] = cosine[i] - sine[C + i];
        out[C + i] = cosine[C + i] + sine[i];
      }
    }
  }
}

// The other order, for outputs much narrower than inputs: the products with W first, once per source, then
//
//   y = sum_e rho_out(theta) sum_b R_b (P_b0 + sum_n cos(n phi) P_bn + sin(n phi) Q_bn),     phi = g - theta
//
// with P_bn = W_b^T x^n and Q_bn = W_b^T (i x^n), all of length D_out. Products are laid out [source][R][2 N + 1][D_out].
template <typename T>
void multiply_block(const ConvShape& shape, const T* x, const T* packed, int64_t count, T* products,
                    Scratch<T> scratch) {
  const int64_t D = shape.out_dim, panel_stride = shape.panel * shape.radial * shape.in_dim;
  for (int64_t n = 0; n < shape.in_orders; ++n) {
    const int64_t C = shape.in_count[n];
    if (n > 0)
      for (int64_t v = 0; v < count; ++v) {
        const T* from = x + v * shape.in_dim + shape.in_start[n];
        T* to = scratch.moments + v * 2 * C;
        for (int64_t i = 0; i < C; ++i) {
          to[i] = -from[C + i];
          to[C + i] = from[i];
        }
      }
    for (int64_t b = 0; b < shape.radial; ++b) {
      const T* weight = packed + (b * shape.in_dim + shape.in_start[n]) * shape.panel;
      T* to = products + (b * (2 * shape.in_orders - 1) + (n == 0 ? 0 : 2 * n - 1)) * D;
      const int64_t row = shape.rows_per_source * D, depth = (n == 0 ? 1 : 2) * C;
      gemm<T>(count, D, depth, x + shape.in_start[n], shape.in_dim, 1, weight, shape.panel, panel_stride, to, row, false);
      if (n > 0)
        gemm<T>(count, D, depth, scratch.moments, depth, 1, weight, shape.panel, panel_stride, to + D, row, false);
    }
  }
}

template <typename T>
void collect_block(const ConvShape& shape, const ConvRows<T>& graph, const T* products, int64_t first, int64_t count,
                   T* y, Scratch<T> scratch) {
  const int64_t R = shape.radial, D = shape.out_dim;
  T* __restrict sum = scratch.turned;
  for (int64_t v = first; v < first + count; ++v) {
    T* __restrict out = y + v * D;
    for (int64_t i = 0; i < D; ++i) out[i] = 0;
    each_edge(shape, graph, graph.begin(v), graph.end(v), [&](int64_t, int64_t e, Rotation<T> step, Rotation<T> back) {
      const T* row = products + graph.neighbour(e) * shape.rows_per_source * D;
      for (int64_t i = 0; i < D; ++i) sum[i] = 0;
      for (int64_t b = 0; b < R; ++b) {
        Rotation<T> r{graph.radial[e * R + b], 0};
        for (int64_t n = 0; n < shape.in_orders; ++n, r = r * step)
          for (int part = 0; part < (n == 0 ? 1 : 2); ++part, row += D) {
            const T factor = part == 0 ? r.c : r.s;
            for (int64_t i = 0; i < D; ++i) sum[i] += factor * row[i];
          }
      }
      for (int64_t i = 0; i < shape.out_count[0]; ++i) out[i] += sum[i];
      Rotation<T> r = back;
      for (int64_t m = 1; m < shape.out_orders; ++m, r = r * back) {
        const int64_t C = shape.out_count[m], start = shape.out_start[m];
        for (int64_t i = start; i < start + C; ++i) {
          out[i] += r.c * sum[i] - r.s * sum[C + i];
          out[C + i] += r.s * sum[i] + r.c * sum[C + i];
        }
      }
    });
  }
}

template <typename T>
void weight_block(const ConvShape& shape, const ConvRows<T>& graph, const T* x, const T* grad, int64_t first,
                  int64_t count, T* weight_grad, Scratch<T> scratch) {
  const int64_t D = shape.in_dim;
  Moments<T>{shape, graph, x, scratch.turned, scratch.weights}.gather(first, count, scratch.moments);
  for (int64_t m = 0; m < shape.out_orders; ++m) {
    if (shape.out_count[m] == 0) continue;
    stack_gradient(shape, m, count, grad + first * shape.out_dim, scratch.product);
    const int64_t parts = m == 0 ? 1 : 2;
    for (int64_t b = 0; b < shape.radial; ++b)
      gemm<T>(D, parts * shape.out_count[m], parts * count, scratch.moments + moment_start(shape, b, m, count), 1, D,
              scratch.product, shape.grad_padded, 0, weight_grad + b * D * shape.out_dim + shape.out_start[m],
              shape.out_dim, true);
  }
}

template <typename T>
void edge_block(const ConvShape& shape, const ConvRows<T>& graph, const T* x, const T* grad, const T* packed,
                int64_t first, int64_t count, T* radial_grad, Scratch<T> scratch) {
  using V = typename Simd<T>::type;
  constexpr int L = Simd<T>::lanes;
  const int64_t R = shape.radial, D = shape.in_dim;
  for (int64_t m = 0; m < shape.out_orders; ++m) {
    const int64_t parts = m == 0 ? 1 : 2;
    stack_gradient(shape, m, count, grad + first * shape.out_dim, scratch.product);
    const int64_t inner = parts * shape.out_count[m];
    for (int64_t b = 0; b < R; ++b)
      gemm<T>(parts * count, D, inner, scratch.product, shape.grad_padded, 1,
              packed + shape.packed_start[m] + b * inner * shape.in_padded, shape.panel, shape.panel * inner,
              scratch.moments + moment_start(shape, b, m, count), D, false);
  }
  const Moments<T> moments{shape, graph, x, scratch.turned, scratch.weights};
  for (int64_t v = 0; v < count; ++v) {
    const int64_t begin = graph.begin(first + v), end = graph.end(first + v);
    each_edge(shape, graph, begin, end, [&](int64_t, int64_t e, Rotation<T> into, Rotation<T> step) {
      moments.turn(graph.neighbour(e), into, scratch.turned);
      for (int64_t b = 0; b < R; ++b) {
        T sum = 0;
        Rotation<T> r{1, 0};
        for (int64_t j = 0; j < shape.parts; ++j) {
          if (j % 2 == 1) r = r * step;
          const T* d = scratch.moments + ((b * shape.parts + j) * count + v) * D;
          V lanes = V{};
          int64_t i = 0;
          for (; i + L <= D; i += L)
            lanes += *reinterpret_cast<const V*>(d + i) * *reinterpret_cast<const V*>(scratch.turned + i);
          T dot = 0;
          for (int l = 0; l < L; ++l) dot += lanes[l];
          for (; i < D; ++i) dot += d[i] * scratch.turned[i];
          sum += dot * (j % 2 == 1 || j == 0 ? r.c : r.s);
        }
        radial_grad[e * R + b] += sum;
      }
    });
  }
}

template <typename T>
void point_block(const ConvShape& shape, const T* x, const T* packed, int64_t count, T* y) {
  const int64_t orders = shape.in_orders < shape.out_orders ? shape.in_orders : shape.out_orders;
  for (int64_t m = 0; m < orders; ++m) {
    const int64_t parts = m == 0 ? 1 : 2, depth = parts * shape.in_count[m], width = parts * shape.out_count[m];
    if (depth > 0)
      gemm<T>(count, width, depth, x + shape.in_start[m], shape.in_dim, 1, packed, shape.panel, shape.panel * depth,
              y + shape.out_start[m], shape.out_dim, true);
    packed += depth * ((width + shape.panel - 1) / shape.panel * shape.panel);
  }
}

template <typename T>
constexpr BlockKernels<T> kConvKernels{MESHCONV_VECTOR_BYTES / sizeof(T), conv_block<T>, multiply_block<T>,
                                       collect_block<T>, weight_block<T>, edge_block<T>, point_block<T>};

}  // namespace meshconv::MESHCONV_ISA
