// CUDA's language and runtime, as far as csrc/cuda uses them, for a host compiler: each thread of a block is a fiber,
// blocks run one after another, and a fiber runs until it meets others at a barrier. It is no GPU: nothing runs at the
// same time, nothing is fast, and only what the order of threads changes is seen of races.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
// Fibers of one system thread share what is local to it; run() fills all of it with garbage before each block.
#define __shared__ thread_local

struct uint3 {
  unsigned int x, y, z;
};

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_) {}
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidConfiguration = 9, cudaErrorLaunchFailure = 719 };
using cudaStream_t = struct Stream*;

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

namespace shim {

enum class Group { warp, block };

// Waits for all threads of the group at the same line; anything else is an error of the launch.
void meet(Group group, const char* file, int line);

// The `bytes` at `value` of the thread `down` lanes on in this warp, its own where the warp ends.
void from_lane(void* value, size_t bytes, unsigned int mask, unsigned int down, const char* file, int line);

[[noreturn]] void fail(const char* condition, const char* file, int line);

cudaError_t run(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& thread);

}  // namespace shim

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  shim::meet(shim::Group::block, file, line);
}

inline void __syncwarp(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  shim::meet(shim::Group::warp, file, line);
}

template <typename T>
T __shfl_down_sync(unsigned int mask, T value, unsigned int down, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
  shim::from_lane(&value, sizeof(T), mask, down, file, line);
  return value;
}

template <typename T>
T min(T a, T b) {
  return b < a ? b : a;
}

// Of the argument modulo 2, which is exact: cos(pi / 2) is 0, as in CUDA.
template <typename T>
T sinpi(T x) {
  x = std::fmod(x, T(2));
  const T turns = x < 0 ? x + 2 : x;
  if (turns == 0 || turns == 1) return 0;
  return std::sin(T(M_PI) * (turns <= T(0.5) ? turns : turns <= T(1.5) ? 1 - turns : turns - 2));
}

template <typename T>
T cospi(T x) {
  return sinpi(T(0.5) - std::fabs(std::fmod(x, T(2))));
}

cudaError_t cudaSetDevice(int device);
const char* cudaGetErrorString(cudaError_t error);

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  const std::tuple<Parameters...> values{static_cast<Parameters>(arguments)...};
  return shim::run(*config, reinterpret_cast<const void*>(kernel), [&] { std::apply(kernel, values); });
}

// As an assertion in device code: the launch fails.
#define MESHCONV_DEVICE_ASSERT(condition) \
  ((condition) ? static_cast<void>(0) : shim::fail(#condition, __builtin_FILE(), __builtin_LINE()))
