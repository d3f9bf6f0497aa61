// Device, launches and dense products of an operator call on CUDA, through the stable ABI.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>

namespace meshconv {

using torch::stable::Tensor;

// torch's current stream of the device. A torch without CUDA lacks the function, and this library has to load
// there too, so it is looked up when the first CUDA tensor comes; torch has loaded its CUDA library by then.
inline cudaStream_t current_stream(int32_t device) {
  using Function = AOTITorchError (*)(int32_t, void**);
  static const Function function = [] {
    void* library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    return reinterpret_cast<Function>(
        dlsym(library ? library : RTLD_DEFAULT, "aoti_torch_get_current_cuda_stream"));
  }();
  STD_TORCH_CHECK(function != nullptr, "torch has no aoti_torch_get_current_cuda_stream; it needs CUDA and >= 2.10");
  void* stream = nullptr;
  STABLE_TORCH_ERROR_CODE_CHECK(function(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

// Kernels whose threads walk over more elements than they are take at most so many blocks.
#ifndef MESHCONV_MAX_BLOCKS
#define MESHCONV_MAX_BLOCKS (1 << 20)
#endif

// Blocks of `per_block` elements or threads.
inline unsigned int blocks_for(int64_t elements, int64_t per_block) {
  return static_cast<unsigned int>(
      std::clamp<int64_t>((elements + per_block - 1) / per_block, 1, MESHCONV_MAX_BLOCKS));
}

// While it lives, a tensor's device is current for torch and for this library's own copy of the CUDA runtime.
class OnDevice {
 public:
  OnDevice(const Tensor& like, const char* op) : op_(op), guard_(like.get_device_index()) {
    check(cudaSetDevice(like.get_device_index()));
    stream_ = current_stream(like.get_device_index());
  }

  // Starts a kernel on torch's stream with `shared` bytes of block_memory; a launch that fails is the operator's error.
  template <typename... Parameters, typename... Arguments>
  void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, int64_t shared,
              const Arguments&... arguments) const {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = static_cast<size_t>(shared);
    config.stream = stream_;
    check(cudaLaunchKernelEx(&config, kernel, arguments...));
  }

 private:
  const char* op_;
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;

  void check(cudaError_t error) const { STD_TORCH_CHECK(error == cudaSuccess, op_, ": ", cudaGetErrorString(error)); }
};

// out = a b. The variant that writes to `out` is the one that autocast leaves alone.
inline void multiply(const Tensor& a, const Tensor& b, const Tensor& out) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(a), torch::stable::detail::from(b),
                                    torch::stable::detail::from(out)};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]);  // takes the returned handle, so that it is released
}

// rows x columns of a flat buffer, from element `start` on.
inline Tensor matrix(Tensor& buffer, int64_t start, int64_t rows, int64_t columns) {
  return torch::stable::view(torch::stable::narrow(buffer, 0, start, rows * columns), {rows, columns});
}

}  // namespace meshconv
