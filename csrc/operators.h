// The operators' entry points, per device.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <vector>

namespace meshconv {

#define MESHCONV_OPERATOR(name, second, third)                                                                    \
  torch::stable::Tensor name(torch::stable::Tensor x, torch::stable::Tensor second, torch::stable::Tensor third,  \
                             torch::stable::Tensor angle, torch::stable::Tensor transporter,                      \
                             torch::stable::Tensor dst_ptr, torch::stable::Tensor src, torch::stable::Tensor dst, \
                             torch::stable::Tensor src_ptr, torch::stable::Tensor src_edge,                       \
                             std::vector<int64_t> in_type, std::vector<int64_t> out_type, bool transpose);

MESHCONV_OPERATOR(gauge_conv_cpu, weight, radial)
MESHCONV_OPERATOR(gauge_conv_weight_cpu, grad, radial)
MESHCONV_OPERATOR(gauge_conv_edge_cpu, grad, weight)
MESHCONV_OPERATOR(gauge_conv_cuda, weight, radial)
MESHCONV_OPERATOR(gauge_conv_weight_cuda, grad, radial)
MESHCONV_OPERATOR(gauge_conv_edge_cuda, grad, weight)

#undef MESHCONV_OPERATOR

}  // namespace meshconv
