// CUDA operators of the Fourier nonlinearity; csrc/cpu/fourier_kernel.h has the formulas. One thread a row and
// channel: neighbouring threads hold neighbouring channels, and the samples stay in registers.
#include "../fourier.h"
#include "../so2.h"
#include "block_memory.h"
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

// Rows [first, first + some) of the table [samples][parts] of 1, cos m phi_k, sin m phi_k.
template <typename T>
__device__ void fill_waves(int parts, int samples, int first, int some, T* waves) {
  for (int i = threadIdx.x; i < some * parts; i += blockDim.x) {
    const int k = first + i / parts, p = i % parts, m = (p + 1) / 2;
    const T half_turns = T(2 * (static_cast<int64_t>(m) * k % samples)) / T(samples);
    waves[i] = p == 0 ? T(1) : p % 2 == 1 ? cospi(half_turns) : sinpi(half_turns);
  }
}

// PARTS == 0: any number of components, in local memory. Shared memory holds `staged` samples of the table; if that is
// not all of them, they are staged anew for every turn of the block, which all of its threads take together.
template <typename T, int derivative, int PARTS>
__global__ void fourier_kernel(Activation act, int any_parts, int samples, int staged, const T* x, const T* g,
                               const T* h, int64_t rows, int64_t channels, T* out) {
  T* waves = block_memory<T>();
  const int parts = PARTS ? PARTS : any_parts;
  if (staged == samples) {
    fill_waves(parts, samples, 0, samples, waves);
    __syncthreads();
  }
  constexpr int room = PARTS ? PARTS : static_cast<int>(kMaxParts);
  const T scale = T(1) / T(samples);
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * blockDim.x; base < rows * channels;
       base += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t i = base + threadIdx.x, at = i / channels * parts * channels + i % channels;
    const bool active = i < rows * channels;
    T xs[room], gs[room], hs[room], sums[room];
#pragma unroll
    for (int p = 0; p < parts; ++p) {
      xs[p] = active ? x[at + p * channels] : T(0);
      if (derivative > 0) gs[p] = active ? g[at + p * channels] * (p == 0 ? scale : 2 * scale) : T(0);
      if (derivative > 1) hs[p] = active ? h[at + p * channels] : T(0);
      sums[p] = 0;
    }
    for (int first = 0; first < samples; first += staged) {
      const int some = samples - first < staged ? samples - first : staged;
      if (staged < samples) {
        __syncthreads();  // everybody is done with the samples before
        fill_waves(parts, samples, first, some, waves);
        __syncthreads();
      }
      for (int k = 0; k < some; ++k) {
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
    }
    if (!active) continue;
#pragma unroll
    for (int p = 0; p < parts; ++p)
      out[at + p * channels] = derivative > 0 ? sums[p] : sums[p] * (p == 0 ? scale : 2 * scale);
  }
}

template <typename T, int derivative, int PARTS>
void run(const OnDevice& device, const FourierArguments& a, const Tensor& out) {
  const int64_t elements = a.rows() * a.channels(), sample_bytes = a.parts() * static_cast<int64_t>(sizeof(T));
  const int64_t staged = a.samples < kSharedTable / sample_bytes ? a.samples : kSharedTable / sample_bytes;
  device.launch(fourier_kernel<T, derivative, PARTS>, blocks_for(elements, kBlock), kBlock, staged * sample_bytes,
                a.activation, a.parts(), a.samples, staged, a.x.const_data_ptr<T>(),
                derivative > 0 ? a.g.const_data_ptr<T>() : nullptr, derivative > 1 ? a.h.const_data_ptr<T>() : nullptr,
                a.rows(), a.channels(), out.mutable_data_ptr<T>());
}

template <typename T, int derivative>
Tensor fourier(const char* op, const FourierArguments& a) {
  const OnDevice device(a.x, op);
  Tensor out = torch::stable::new_empty(a.x, {a.rows(), a.parts(), a.channels()});
  if (a.rows() * a.channels() == 0) return out;
  switch (a.parts()) {
    case 1: run<T, derivative, 1>(device, a, out); break;
    case 3: run<T, derivative, 3>(device, a, out); break;
    case 5: run<T, derivative, 5>(device, a, out); break;
    case 7: run<T, derivative, 7>(device, a, out); break;
    case 9: run<T, derivative, 9>(device, a, out); break;
    default: run<T, derivative, 0>(device, a, out);
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
