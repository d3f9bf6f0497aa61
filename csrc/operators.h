// The operators' entry points, per device.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <string>
#include <tuple>
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

std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor,
           torch::stable::Tensor>
geodesics_cpu(torch::stable::Tensor points, torch::stable::Tensor frames, torch::stable::Tensor origin,
              torch::stable::Tensor twin, torch::stable::Tensor corner, torch::stable::Tensor fan_angle,
              torch::stable::Tensor total, torch::stable::Tensor scale, torch::stable::Tensor kind,
              torch::stable::Tensor ring_ptr, torch::stable::Tensor ring_src, torch::stable::Tensor ring_radius,
              torch::stable::Tensor ring_angle, torch::stable::Tensor ring_transporter, int64_t rings, double radius,
              int64_t nearest);

#define MESHCONV_OPERATORS(device)                                                                                  \
  torch::stable::Tensor transport_sum_##device(                                                                     \
      torch::stable::Tensor x, torch::stable::Tensor weight, torch::stable::Tensor transporter,                     \
      torch::stable::Tensor dst_ptr, torch::stable::Tensor src, torch::stable::Tensor dst,                          \
      torch::stable::Tensor src_ptr, torch::stable::Tensor src_edge, std::vector<int64_t> type, bool transpose);    \
  torch::stable::Tensor transport_dot_##device(                                                                     \
      torch::stable::Tensor x, torch::stable::Tensor y, torch::stable::Tensor transporter,                          \
      torch::stable::Tensor dst_ptr, torch::stable::Tensor src, torch::stable::Tensor dst,                          \
      torch::stable::Tensor src_ptr, torch::stable::Tensor src_edge, std::vector<int64_t> type, int64_t heads);     \
  torch::stable::Tensor transport_argmax_##device(                                                                  \
      torch::stable::Tensor x, torch::stable::Tensor dst_ptr, torch::stable::Tensor src, torch::stable::Tensor dst, \
      torch::stable::Tensor src_ptr, torch::stable::Tensor src_edge, std::vector<int64_t> type,                     \
      bool signed_scalars);                                                                                         \
  torch::stable::Tensor transport_select_##device(                                                                  \
      torch::stable::Tensor x, torch::stable::Tensor chosen, torch::stable::Tensor transporter,                     \
      torch::stable::Tensor dst_ptr, torch::stable::Tensor src, torch::stable::Tensor dst,                          \
      torch::stable::Tensor src_ptr, torch::stable::Tensor src_edge, std::vector<int64_t> type, bool transpose);    \
  torch::stable::Tensor segment_softmax_##device(torch::stable::Tensor logits, torch::stable::Tensor ptr);          \
  torch::stable::Tensor segment_total_##device(torch::stable::Tensor values, torch::stable::Tensor ptr);            \
  torch::stable::Tensor fourier_act_##device(torch::stable::Tensor x, int64_t samples, std::string activation);     \
  torch::stable::Tensor fourier_act_grad_##device(torch::stable::Tensor x, torch::stable::Tensor grad,              \
                                                  int64_t samples, std::string activation);                         \
  torch::stable::Tensor fourier_act_curvature_##device(torch::stable::Tensor x, torch::stable::Tensor grad,         \
                                                       torch::stable::Tensor grad_grad, int64_t samples,            \
                                                       std::string activation);

MESHCONV_OPERATORS(cpu)
MESHCONV_OPERATORS(cuda)

#undef MESHCONV_OPERATORS

}  // namespace meshconv
