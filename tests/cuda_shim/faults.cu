// Kernels with a fault each, see faults.h.
#include "faults.h"

#include <map>

#include "../../csrc/cuda/block_memory.h"
#include "../../csrc/cuda/launch.h"
#include "../../csrc/rows.h"

namespace meshconv {
namespace {

constexpr int kMost = 128;

__global__ void no_fault(int n, const float* x, float* y) {
  __shared__ float staged[kMost];
  const int t = threadIdx.x;
  staged[t] = x[t];
  __syncthreads();
  y[t] = staged[n - 1 - t];
}

__global__ void no_barrier(int n, const float* x, float* y) {
  __shared__ float staged[kMost];
  const int t = threadIdx.x;
  staged[t] = x[t];
  y[t] = staged[n - 1 - t];
}

// The parts of the first turn are overwritten while others read them.
__global__ void no_second_barrier(int n, const float* x, float* y) {
  __shared__ float staged[kMost];
  const int t = threadIdx.x;
  for (int turn = 0; turn < 2; ++turn) {
    staged[t] = x[t] + turn;
    __syncthreads();
    y[t] += staged[n - 1 - t];
  }
}

__global__ void unwritten(int n, const float* x, float* y) {
  float* staged = block_memory<float>();
  const int t = threadIdx.x;
  if (t > 0) staged[t] = x[t];
  __syncthreads();
  y[t] = staged[n - 1 - t];
}

__global__ void two_owners(int n, const float* x, float* y) {
  const int t = threadIdx.x;
  y[(n - 1 - t) / 2] = x[t];
}

__global__ void divergent(int n, const float* x, float* y) {
  const int t = threadIdx.x;
  if (t < n / 2) __syncthreads();
  y[t] = x[n - 1 - t];
}

__global__ void two_barriers(int n, const float* x, float* y) {
  const int t = threadIdx.x;
  if (t < n / 2)
    __syncthreads();
  else
    __syncthreads();
  y[t] = x[n - 1 - t];
}

__global__ void half_a_warp(int n, const float* x, float* y) {
  const int t = threadIdx.x;
  float value = x[n - 1 - t];
  if (t % 32 < 16) value = __shfl_down_sync(0xffffffffu, value, 8);
  y[t] = value;
}

__global__ void wrong_index(int n, const float* x, float* y) {
  const int t = threadIdx.x;
  MESHCONV_DEVICE_ASSERT(n - t < n);
  y[t] = x[n - 1 - t];
}

__global__ void past_the_block(int n, const float* x, float* y) {
  float* staged = block_memory<float>();
  const int t = threadIdx.x;
  staged[t + 1] = x[t];
  __syncthreads();
  y[t] = staged[n - t];
}

__global__ void past_a_tensor(int n, const float* x, float* y) {
  const int t = threadIdx.x;
  y[t] = x[n - t];
}

__global__ void past_an_array(int n, const float* x, float* y) {
  __shared__ float staged[kMost];
  const int t = threadIdx.x;
  staged[t + kMost - n + 1] = x[t];
  __syncthreads();
  y[t] = staged[kMost - t];
}

}  // namespace

Tensor fault(Tensor x, std::string name) {
  const std::map<std::string, void (*)(int, const float*, float*)> kernels{
      {"no_fault", no_fault},           {"no_barrier", no_barrier},       {"no_second_barrier", no_second_barrier},
      {"unwritten", unwritten},         {"two_owners", two_owners},       {"divergent", divergent},
      {"two_barriers", two_barriers},   {"half_a_warp", half_a_warp},     {"wrong_index", wrong_index},
      {"past_the_block", past_the_block}, {"past_a_tensor", past_a_tensor}, {"past_an_array", past_an_array},
  };
  const OnDevice device(x, name.c_str());
  const int64_t n = x.size(0), bytes = n * static_cast<int64_t>(sizeof(float));
  Tensor y = torch::stable::new_zeros(x, {n});
  device.launch(kernels.at(name), 1, static_cast<unsigned int>(n), bytes, n, x.const_data_ptr<float>(),
                y.mutable_data_ptr<float>());
  return y;
}

}  // namespace meshconv
