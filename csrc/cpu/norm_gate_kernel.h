// Normalised and gated fields, a row at a time: everything is computed again from the input where a derivative needs it.
// Included once per instruction set, by all_kernels.h, after fourier_kernel.h, which has the logistic function.
#pragma once

namespace meshconv::MESHCONV_ISA {

// The first n lanes of a vector.
template <typename T>
inline typename Simd<T>::type load(const T* from, int64_t n) {
  using V = typename Simd<T>::type;
  if (n >= Simd<T>::lanes) return *reinterpret_cast<const V*>(from);
  V v{};
  for (int64_t l = 0; l < n; ++l) v[l] = from[l];
  return v;
}

template <typename T>
inline void store(T* to, typename Simd<T>::type v, int64_t n) {
  using V = typename Simd<T>::type;
  if (n >= Simd<T>::lanes) {
    *reinterpret_cast<V*>(to) = v;
    return;
  }
  for (int64_t l = 0; l < n; ++l) to[l] = v[l];
}

template <typename T>
void gate_apply(const GateShape& shape, const GateColumns<T>& columns, const T* x, const T* residual, int64_t rows,
                T* y) {
  using V = typename Simd<T>::type;
  constexpr int64_t L = Simd<T>::lanes;
  const auto argument = [&](const T* row, int64_t c, int64_t n) {
    return load(columns.factor + c, n) * (load(row + c, n) - load(columns.mean + c, n)) + load(columns.shift + c, n);
  };
  for (int64_t v = 0; v < rows; ++v) {
    const T* in = x + v * shape.in_dim;
    const T* more = residual ? residual + v * shape.out_dim : nullptr;
    T* out = y + v * shape.out_dim;
    const auto give = [&](int64_t c, V value, int64_t n) {
      store(out + c, more ? value + load(more + c, n) : value, n);
    };
    for (int64_t i = 0; i < shape.scalars; i += L) {
      const V p = argument(in, i, shape.scalars - i);
      give(i, p * logistic<T>(p), shape.scalars - i);
    }
    int64_t gate = shape.scalars, from = shape.scalars + shape.gates, to = shape.scalars;
    for (int64_t s = 0; s < shape.segments; ++s) {
      const int64_t count = shape.count[s], parts = shape.parts[s];
      for (int64_t i = 0; i < count; i += L) {
        const V open = logistic<T>(argument(in, gate + i, count - i));
        for (int64_t k = 0; k < parts; ++k) {
          const int64_t c = from + k * count + i;
          give(to + k * count + i, load(in + c, count - i) * load(columns.factor + c, count - i) * open, count - i);
        }
      }
      gate += count;
      from += parts * count;
      to += parts * count;
    }
  }
}

// Calls visit(column, gradient there, x - mean there, lanes) for all vectors of columns of a row.
template <typename T, typename Visit>
inline void gate_backward(const GateShape& shape, const GateColumns<T>& columns, const T* in, const T* g, Visit visit) {
  using V = typename Simd<T>::type;
  constexpr int64_t L = Simd<T>::lanes;
  const auto centred = [&](int64_t c, int64_t n) { return load(in + c, n) - load(columns.mean + c, n); };
  const auto argument = [&](V x, int64_t c, int64_t n) { return load(columns.factor + c, n) * x + load(columns.shift + c, n); };
  for (int64_t i = 0; i < shape.scalars; i += L) {
    const int64_t n = shape.scalars - i;
    const V x = centred(i, n), p = argument(x, i, n), s = logistic<T>(p);
    visit(i, load(g + i, n) * (s + p * s * (T(1) - s)), x, n);
  }
  int64_t gate = shape.scalars, from = shape.scalars + shape.gates, to = shape.scalars;
  for (int64_t k = 0; k < shape.segments; ++k) {
    const int64_t count = shape.count[k], parts = shape.parts[k];
    for (int64_t i = 0; i < count; i += L) {
      const int64_t n = count - i;
      const V z = centred(gate + i, n), open = logistic<T>(argument(z, gate + i, n));
      V through{};
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t c = from + part * count + i;
        const V x = load(in + c, n), up = load(g + to + part * count + i, n);
        through += up * x * load(columns.factor + c, n);
        visit(c, up * open, x, n);
      }
      visit(gate + i, through * open * (T(1) - open), z, n);
    }
    gate += count;
    from += parts * count;
    to += parts * count;
  }
}

template <typename T>
void gate_sums(const GateShape& shape, const GateColumns<T>& columns, const T* x, const T* g, int64_t rows, T* zero,
               T* one) {
  using V = typename Simd<T>::type;
  for (int64_t v = 0; v < rows; ++v)
    gate_backward<T>(shape, columns, x + v * shape.in_dim, g + v * shape.out_dim,
                     [&](int64_t c, V p, V centred, int64_t n) {
                       store(zero + c, load(zero + c, n) + p, n);
                       store(one + c, load(one + c, n) + p * centred, n);
                     });
}

template <typename T>
void gate_gradient(const GateShape& shape, const GateColumns<T>& columns, const T* x, const T* g, const T* constant,
                   const T* slope, int64_t rows, T* dx) {
  using V = typename Simd<T>::type;
  for (int64_t v = 0; v < rows; ++v)
    gate_backward<T>(shape, columns, x + v * shape.in_dim, g + v * shape.out_dim,
                     [&](int64_t c, V p, V centred, int64_t n) {
                       const V rest = p - load(constant + c, n) - load(slope + c, n) * centred;
                       store(dx + v * shape.in_dim + c, load(columns.factor + c, n) * rest, n);
                     });
}

template <typename T>
void field_moments(const T* x, int64_t rows, int64_t dim, int64_t centred, T* mean, T* squares) {
  using V = typename Simd<T>::type;
  constexpr int64_t L = Simd<T>::lanes;
  const auto end = [&](int64_t c) { return (c < centred ? centred : dim) - c; };  // lanes are of one kind
  for (int64_t c = 0; c < dim; c += end(c) < L ? end(c) : L) {
    const int64_t n = end(c);
    V sum{};
    if (c < centred)
      for (int64_t v = 0; v < rows; ++v) sum += load(x + v * dim + c, n);
    const V middle = sum / T(rows);
    V total{};
    for (int64_t v = 0; v < rows; ++v) {
      const V off = load(x + v * dim + c, n) - middle;
      total += off * off;
    }
    store(mean + c, middle, n);
    store(squares + c, total, n);
  }
}

template <typename T>
constexpr GateKernels<T> kGateKernels{gate_apply<T>, gate_sums<T>, gate_gradient<T>, field_moments<T>};

}  // namespace meshconv::MESHCONV_ISA
