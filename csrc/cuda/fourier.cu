// CUDA operators of the Fourier nonlinearity; csrc/cpu/fourier_kernel.h has the formulas. One thread a row and
// channel: neighbouring threads hold neighbouring channels, and the samples stay in registers.
#include "../fourier.h"
#include "../so2.h"
#include "launch.h"

#include "../operators.h"

namespace meshconv {
namespace {

constexpr int kBlock = 128;
constexpr int64_t kSharedTable = 48 * 1024;

// Comparisons are false for NaN, which the second branch keeps.
template <typename T, int derivative>
MESHCONV_HD T activate(Activation act, T a) {
  if (act == Activation::relu) {
    if (derivative == 0) return a < T(0) ? T(0) : a;
    if (derivative == 1) return a <= T(0) ? T(0) : T(1);
    return T(0);
  }
  const T s = T(1) / (T(1) + exp(-a));
  if (derivative == 0) return a * s;
  if (derivative == 1) return s + a * s * (T(1) - s);
  return s * (T(1) - s) * (T(2) + a * (T(1) - T(2) * s));
}

// PARTS == 0: any number of components, in local memory.
template <typename T, int derivative, int PARTS>
__global__ void fourier_kernel(Activation act, int any_parts, int samples, const T* x, const T* g, const T* h,
                               int64_t rows, int64_t channels, T* out) {
  extern __shared__ double shared[];
  T* waves = reinterpret_cast<T*>(shared);  // [samples][parts]: 1, cos m phi_k, sin m phi_k
  const int parts = PARTS ? PARTS : any_parts;
  for (int i = threadIdx.x; i < samples * parts; i += blockDim.x) {
    const int k = i / parts, p = i % parts, m = (p + 1) / 2;
    const T half_turns = T(2 * (static_cast<int64_t>(m) * k % samples)) / T(samples);
    waves[i] = p == 0 ? T(1) : p % 2 == 1 ? cospi(half_turns) : sinpi(half_turns);
  }
  __syncthreads();
  constexpr int room = PARTS ? PARTS : static_cast<int>(kMaxParts);
  const T scale = T(1) / T(samples);
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < rows * channels;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t at = i / channels * parts * channels + i % channels;
    T xs[room], gs[room], hs[room], sums[room];
#pragma unroll
    for (int p = 0; p < parts; ++p) {
      xs[p] = x[at + p * channels];
      if (derivative > 0) gs[p] = g[at + p * channels] * (p == 0 ? scale : 2 * scale);
      if (derivative > 1) hs[p] = h[at + p * channels];
      sums[p] = 0;
    }
    for (int k = 0; k < samples; ++k) {
      const T* wave = waves + k * parts;
      T f = 0, fg = 0, fh = 0;
#pragma unroll
      for (int p = 0; p < parts; ++p) {
        f += wave[p] * xs[p];
        if (derivative > 0) fg += wave[p] * gs[p];
        if (derivative > 1) fh += wave[p] * hs[p];
      }
      T value = activate<T, derivative>(act, f);
      if (derivative > 0) value *= fg;
      if (derivative > 1) value *= fh;
#pragma unroll
      for (int p = 0; p < parts; ++p) sums[p] += wave[p] * value;
    }
#pragma unroll
    for (int p = 0; p < parts; ++p)
      out[at + p * channels] = derivative > 0 ? sums[p] : sums[p] * (p == 0 ? scale : 2 * scale);
  }
}

template <typename T, int derivative, int PARTS>
void launch(const char* op, const FourierArguments& a, const OnDevice& device, const Tensor& out) {
  const int64_t elements = a.rows() * a.channels(), bytes = a.samples * a.parts() * static_cast<int64_t>(sizeof(T));
  STD_TORCH_CHECK(bytes <= kSharedTable, op, ": ", a.samples, " samples of ", a.parts(),
                  " components do not fit in shared memory (", bytes, " of ", kSharedTable, " bytes)");
  const int64_t blocks = (elements + kBlock - 1) / kBlock;
  const unsigned int grid = static_cast<unsigned int>(blocks < (1 << 16) ? blocks : 1 << 16);
  fourier_kernel<T, derivative, PARTS><<<grid, kBlock, static_cast<size_t>(bytes), device.stream>>>(
      a.activation, static_cast<int>(a.parts()), static_cast<int>(a.samples), a.x.const_data_ptr<T>(),
      derivative > 0 ? a.g.const_data_ptr<T>() : nullptr, derivative > 1 ? a.h.const_data_ptr<T>() : nullptr, a.rows(),
      a.channels(), out.mutable_data_ptr<T>());
  check_launch(op);
}

template <typename T, int derivative>
Tensor fourier(const char* op, const FourierArguments& a) {
  const OnDevice device(a.x, op);
  Tensor out = torch::stable::new_empty(a.x, {a.rows(), a.parts(), a.channels()});
  if (a.rows() * a.channels() == 0) return out;
  switch (a.parts()) {
    case 1: launch<T, derivative, 1>(op, a, device, out); break;
    case 3: launch<T, derivative, 3>(op, a, device, out); break;
    case 5: launch<T, derivative, 5>(op, a, device, out); break;
    case 7: launch<T, derivative, 7>(op, a, device, out); break;
    case 9: launch<T, derivative, 9>(op, a, device, out); break;
    default: launch<T, derivative, 0>(op, a, device, out);
  }
  return out;
}

template <int derivative>
Tensor dispatch(const char* op, const FourierArguments& a) {
  return a.x.scalar_type() == torch::headeronly::ScalarType::Float ? fourier<float, derivative>(op, a)
                                                                   : fourier<double, derivative>(op, a);
}

}  // namespace

Tensor fourier_act_cuda(Tensor x, int64_t samples, std::string activation) {
  return dispatch<0>("fourier_act", check_fourier("fourier_act", {x}, samples, activation));
}

Tensor fourier_act_grad_cuda(Tensor x, Tensor grad, int64_t samples, std::string activation) {
  return dispatch<1>("fourier_act_grad", check_fourier("fourier_act_grad", {x, grad}, samples, activation));
}

Tensor fourier_act_curvature_cuda(Tensor x, Tensor grad, Tensor grad_grad, int64_t samples, std::string activation) {
  return dispatch<2>("fourier_act_curvature",
                     check_fourier("fourier_act_curvature", {x, grad, grad_grad}, samples, activation));
}

}  // namespace meshconv
