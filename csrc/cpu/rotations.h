// Cosines and sines of many angles at once, compiled once per instruction set (see all_kernels.h): one call of the
// library for each edge takes as long as turning ten of its features.
#pragma once

namespace meshconv::MESHCONV_ISA {

// Polynomials on [-pi/4, pi/4] in z = r^2, of Cephes in single and of fdlibm in double precision, and pi/2 in parts whose
// products with small whole numbers are exact. kShift is 1.5 * 2^(bits of the mantissa): adding it rounds to a whole
// number, whose last bits are then those of the sum.
template <typename T>
struct Circle;

template <>
struct Circle<float> {
  typedef int32_t Integer;
  static constexpr float kShift = 12582912.0f;
  static constexpr float kHalfPi[] = {1.5703125f, 4.837512969970703125e-4f, 7.54978995489188216e-8f};
  static constexpr float kSine[] = {-1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f};
  static constexpr float kCosine[] = {2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f};
};

template <>
struct Circle<double> {
  typedef int64_t Integer;
  static constexpr double kShift = 6755399441055744.0;
  static constexpr double kHalfPi[] = {1.57079632673412561417e+00, 6.07710050630396597660e-11, 2.02226624879595063154e-21};
  static constexpr double kSine[] = {1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
                                     -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01};
  static constexpr double kCosine[] = {-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
                                       2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02};
};

template <typename V, typename T, int N>
inline V polynomial(V z, const T (&coefficients)[N]) {
  V sum = V{} + coefficients[0];
#pragma GCC unroll 8
  for (int k = 1; k < N; ++k) sum = sum * z + coefficients[k];
  return sum;
}

// Of `count` angles; all three arrays are read and written in whole vectors.
template <typename T>
inline void rotations(const T* angle, int64_t count, T* cosine, T* sine) {
  using V = typename Simd<T>::type;
  using C = Circle<T>;
  typedef typename C::Integer Bits __attribute__((vector_size(MESHCONV_VECTOR_BYTES), aligned(alignof(T)), may_alias));
  constexpr int L = Simd<T>::lanes;
  constexpr int kSign = 8 * sizeof(T) - 2;
  for (int64_t i = 0; i < count; i += L) {
    const V a = *reinterpret_cast<const V*>(angle + i);
    const V shifted = a * T(0.63661977236758134308) + C::kShift, quarters = shifted - C::kShift;
    V r = a;
#pragma GCC unroll 3
    for (T part : C::kHalfPi) r -= quarters * part;
    const V z = r * r;
    const Bits s = (Bits)(r + r * z * polynomial(z, C::kSine));
    const Bits c = (Bits)(1 - T(0.5) * z + z * z * polynomial(z, C::kCosine));
    const Bits quarter = (Bits)shifted, odd = -(quarter & 1);
    *reinterpret_cast<V*>(cosine + i) = (V)(((c & ~odd) | (s & odd)) ^ (((quarter + 1) & 2) << kSign));
    *reinterpret_cast<V*>(sine + i) = (V)(((s & ~odd) | (c & odd)) ^ ((quarter & 2) << kSign));
    for (int64_t k = i; k < i + L && k < count; ++k) {
      if (angle[k] > -1000 && angle[k] < 1000) continue;  // the parts of pi/2 suffice
      const Rotation<T> far = rotation(angle[k]);
      cosine[k] = far.c;
      sine[k] = far.s;
    }
  }
}

// f(k, e, into, out) for the edge e of each slot + k below `end`, with the rotations into the edge's frame and back out
// of it. Those that scalars alone would not need are left out.
template <typename T, typename F>
inline void each_edge(const ConvShape& shape, const ConvRows<T>& graph, int64_t slot, int64_t end, F f) {
  constexpr int64_t L = Simd<T>::lanes, kEdges = 64;
  T into[kEdges], out[kEdges], into_cosine[kEdges], into_sine[kEdges], out_cosine[kEdges], out_sine[kEdges];
  for (int64_t done = 0; slot + done < end; done += kEdges) {
    const int64_t first = slot + done, count = end - first < kEdges ? end - first : kEdges;
    for (int64_t k = 0; k < count; ++k) {
      const int64_t e = graph.edge(first + k);
      const auto angles = edge_angles(graph.angle[e], graph.transporter[e], graph.transpose);
      into[k] = angles.into;
      out[k] = angles.out;
    }
    for (int64_t k = count; k < kEdges && k % L != 0; ++k) into[k] = out[k] = 0;
    if (shape.in_orders > 1) rotations(into, count, into_cosine, into_sine);
    if (shape.out_orders > 1) rotations(out, count, out_cosine, out_sine);
    for (int64_t k = 0; k < count; ++k) {
      const Rotation<T> in{into_cosine[k], into_sine[k]}, back{out_cosine[k], out_sine[k]};
      f(done + k, graph.edge(first + k), in, back);
    }
  }
}

}  // namespace meshconv::MESHCONV_ISA
