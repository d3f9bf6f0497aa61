// The Fourier nonlinearity on vectors of channels. With S[k, p] the waves 1, cos m phi_k, sin m phi_k and s the
// scale of the analysis, the derivatives of act make one symmetric family,
//
//   F_d(x; u_1 .. u_d)[p] = sum_k S[k, p] act^(d)((S x)_k) (S u_1)_k .. (S u_d)_k,
//
// with y = s F_0(x), and F_{d + 1}(x; .., h) the derivative of <h, F_d(x; ..)> with respect to x. The samples live
// in registers one at a time. Included once per instruction set, by all_kernels.h.
#pragma once

namespace meshconv::MESHCONV_ISA {

// Integers as wide as the elements: exponents are made by shifting bits.
template <typename T>
struct Bits;
template <>
struct Bits<float> {
  typedef int32_t type __attribute__((vector_size(MESHCONV_VECTOR_BYTES)));
  static constexpr int mantissa = 23;
  static constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  static constexpr float log2_high = 0.693359375f, log2_low = -2.12194440e-4f;
  static constexpr float limit = 87.0f;
  static constexpr int terms = 7;
};
template <>
struct Bits<double> {
  typedef int64_t type __attribute__((vector_size(MESHCONV_VECTOR_BYTES)));
  static constexpr int mantissa = 52;
  static constexpr double round = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double log2_high = 6.93145751953125e-1, log2_low = 1.42860682030941723212e-6;
  static constexpr double limit = 708.0;
  static constexpr int terms = 13;
};

// e^a for |a| clamped to where the result is a normal number. Taylor's series on |a| <= log(2) / 2 is exact to
// one rounding with these many terms. NaN stays NaN, for every comparison with it is false.
template <typename T>
inline typename Simd<T>::type exponential(typename Simd<T>::type a) {
  using V = typename Simd<T>::type;
  using B = Bits<T>;
  using I = typename B::type;
  const V high = V{} + B::limit, low = V{} - B::limit;
  a = a > high ? high : a;
  a = a < low ? low : a;
  const V shifted = a * T(1.44269504088896340736) + B::round;
  const V n = shifted - B::round;
  const V r = (a - n * B::log2_high) - n * B::log2_low;
  V sum = V{} + T(1);
#pragma GCC unroll 16
  for (int i = B::terms; i > 0; --i) sum = sum * r * (T(1) / T(i)) + T(1);
  union {
    V real;
    I bits;
  } power{};
  power.real = shifted;
  I exponent = power.bits << B::mantissa;
  power.real = V{} + T(1);
  power.bits += exponent;
  return sum * power.real;
}

template <typename T>
inline typename Simd<T>::type logistic(typename Simd<T>::type a) {
  return T(1) / (T(1) + exponential<T>(-a));
}

// The derivative-th derivative of an activation. A comparison is false for NaN, which the first branch keeps.
template <typename T, Activation act, int derivative>
inline typename Simd<T>::type activate(typename Simd<T>::type a) {
  using V = typename Simd<T>::type;
  const V zero = V{};
  if constexpr (act == Activation::relu) {
    if constexpr (derivative == 0) return a < zero ? zero : a;
    if constexpr (derivative == 1) return a <= zero ? zero : zero + T(1);
    return zero;
  } else {
    const V s = logistic<T>(a);
    if constexpr (derivative == 0) return a * s;
    if constexpr (derivative == 1) return s + a * s * (T(1) - s);
    return s * (T(1) - s) * (T(2) + a * (T(1) - T(2) * s));
  }
}

// One vector of channels; components are `stride` apart. PARTS == 0: any number, in memory instead of registers.
template <typename T, Activation act, int derivative, int PARTS>
inline void fourier_tile(const FourierTable<T>& table, const T* __restrict x, const T* __restrict g,
                         const T* __restrict h, T* __restrict out, int64_t stride) {
  using V = typename Simd<T>::type;
  constexpr int64_t room = PARTS ? PARTS : kMaxParts;
  const int64_t parts = PARTS ? PARTS : table.parts;
  V xs[room], gs[room], hs[room], sums[room];
#pragma GCC unroll 9
  for (int64_t p = 0; p < parts; ++p) {
    xs[p] = *reinterpret_cast<const V*>(x + p * stride);
    if constexpr (derivative > 0) gs[p] = *reinterpret_cast<const V*>(g + p * stride) * table.scale[p];
    if constexpr (derivative > 1) hs[p] = *reinterpret_cast<const V*>(h + p * stride);
    sums[p] = V{};
  }
  for (int64_t k = 0; k < table.samples; ++k) {
    const T* __restrict wave = table.waves + k * parts;
    const auto sample = [&](const V* values) {
      V sum = values[0];
#pragma GCC unroll 9
      for (int64_t p = 1; p < parts; ++p) sum += wave[p] * values[p];
      return sum;
    };
    V value = activate<T, act, derivative>(sample(xs));
    if constexpr (derivative > 0) value *= sample(gs);
    if constexpr (derivative > 1) value *= sample(hs);
    sums[0] += value;
#pragma GCC unroll 9
    for (int64_t p = 1; p < parts; ++p) sums[p] += wave[p] * value;
  }
#pragma GCC unroll 9
  for (int64_t p = 0; p < parts; ++p)
    *reinterpret_cast<V*>(out + p * stride) = derivative == 0 ? sums[p] * table.scale[p] : sums[p];
}

// Where the channels do not fill vectors, one vector takes channels of several rows through a copy.
template <typename T, int PARTS>
inline void copy_lanes(int64_t parts, int64_t channels, int64_t begin, int64_t lanes, const T* from, T* buffer) {
  for (int64_t l = 0; l < lanes; ++l) {
    const int64_t v = (begin + l) / channels, c = (begin + l) % channels;
    for (int64_t p = 0; p < parts; ++p) buffer[p * Simd<T>::lanes + l] = from[(v * parts + p) * channels + c];
  }
}

template <typename T, Activation act, int derivative, int PARTS>
void fourier_rows(const FourierTable<T>& table, const FourierRows<T>& rows, int64_t first, int64_t count) {
  constexpr int64_t L = Simd<T>::lanes;
  constexpr int64_t room = (PARTS ? PARTS : kMaxParts) * L;
  const int64_t parts = table.parts, channels = rows.channels, start = first * parts * channels;
  const T *x = rows.x + start, *g = derivative > 0 ? rows.g + start : nullptr,
          *h = derivative > 1 ? rows.h + start : nullptr;
  T* out = rows.out + start;
  if (channels % L == 0) {
    for (int64_t v = 0; v < count; ++v)
      for (int64_t c = 0; c < channels; c += L) {
        const int64_t at = v * parts * channels + c;
        fourier_tile<T, act, derivative, PARTS>(table, x + at, derivative > 0 ? g + at : nullptr,
                                                derivative > 1 ? h + at : nullptr, out + at, channels);
      }
    return;
  }
  T buffer[4][room] = {};
  for (int64_t begin = 0; begin < count * channels; begin += L) {
    const int64_t lanes = count * channels - begin < L ? count * channels - begin : L;
    copy_lanes<T, PARTS>(parts, channels, begin, lanes, x, buffer[0]);
    if constexpr (derivative > 0) copy_lanes<T, PARTS>(parts, channels, begin, lanes, g, buffer[1]);
    if constexpr (derivative > 1) copy_lanes<T, PARTS>(parts, channels, begin, lanes, h, buffer[2]);
    fourier_tile<T, act, derivative, PARTS>(table, buffer[0], buffer[1], buffer[2], buffer[3], L);
    for (int64_t l = 0; l < lanes; ++l) {
      const int64_t v = (begin + l) / channels, c = (begin + l) % channels;
      for (int64_t p = 0; p < parts; ++p) out[(v * parts + p) * channels + c] = buffer[3][p * L + l];
    }
  }
}

template <typename T, Activation act, int derivative>
void fourier_parts(const FourierTable<T>& table, const FourierRows<T>& rows, int64_t first, int64_t count) {
  switch (table.parts) {
    case 1: return fourier_rows<T, act, derivative, 1>(table, rows, first, count);
    case 3: return fourier_rows<T, act, derivative, 3>(table, rows, first, count);
    case 5: return fourier_rows<T, act, derivative, 5>(table, rows, first, count);
    case 7: return fourier_rows<T, act, derivative, 7>(table, rows, first, count);
    case 9: return fourier_rows<T, act, derivative, 9>(table, rows, first, count);
    default: return fourier_rows<T, act, derivative, 0>(table, rows, first, count);
  }
}

template <typename T, Activation act>
void fourier_derivative(int derivative, const FourierTable<T>& table, const FourierRows<T>& rows, int64_t first,
                        int64_t count) {
  if (derivative == 0) return fourier_parts<T, act, 0>(table, rows, first, count);
  if (derivative == 1) return fourier_parts<T, act, 1>(table, rows, first, count);
  return fourier_parts<T, act, 2>(table, rows, first, count);
}

template <typename T>
void fourier_kernel(Activation act, int derivative, const FourierTable<T>& table, const FourierRows<T>& rows,
                    int64_t first, int64_t count) {
  if (act == Activation::relu)
    fourier_derivative<T, Activation::relu>(derivative, table, rows, first, count);
  else
    fourier_derivative<T, Activation::silu>(derivative, table, rows, first, count);
}

}  // namespace meshconv::MESHCONV_ISA
