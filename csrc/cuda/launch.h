// Device, stream and dense products of an operator call on CUDA, through the stable ABI.
#pragma once

#include <cuda_runtime.h>
#include <dlfcn.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

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

inline void check_cuda(cudaError_t error, const char* op) {
  STD_TORCH_CHECK(error == cudaSuccess, op, ": ", cudaGetErrorString(error));
}

// To be called after every launch.
inline void check_launch(const char* op) { check_cuda(cudaGetLastError(), op); }

// While it lives, a tensor's device is current for torch and for this library's own copy of the CUDA runtime.
class OnDevice {
 public:
  OnDevice(const Tensor& like, const char* op) : guard_(like.get_device_index()) {
    check_cuda(cudaSetDevice(like.get_device_index()), op);
    stream = current_stream(like.get_device_index());
  }
  cudaStream_t stream;

 private:
  torch::stable::accelerator::DeviceGuard guard_;
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
