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
MESHCONV_OPERATOR(depthwise_conv_cpu, weight, radial)
MESHCONV_OPERATOR(depthwise_conv_weight_cpu, grad, radial)
MESHCONV_OPERATOR(depthwise_conv_edge_cpu, grad, weight)
MESHCONV_OPERATOR(depthwise_conv_cuda, weight, radial)
MESHCONV_OPERATOR(depthwise_conv_weight_cuda, grad, radial)
MESHCONV_OPERATOR(depthwise_conv_edge_cuda, grad, weight)
MESHCONV_OPERATOR(gauge_conv_cuda, weight, radial)
MESHCONV_OPERATOR(gauge_conv_weight_cuda, grad, radial)
MESHCONV_OPERATOR(gauge_conv_edge_cuda, grad, weight)

#undef MESHCONV_OPERATOR

std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor,
           torch::stable::Tensor>
geodesics_cpu(std::vector<torch::stable::Tensor> surface, int64_t rings, double radius, int64_t nearest);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> farthest_points_cpu(
    std::vector<torch::stable::Tensor> surface, torch::stable::Tensor rank, std::vector<int64_t> counts);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> geodesic_cells_cpu(
    std::vector<torch::stable::Tensor> surface, torch::stable::Tensor centres, torch::stable::Tensor target_ptr,
    torch::stable::Tensor target, torch::stable::Tensor bound, double radius);

std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor,
           torch::stable::Tensor, bool>
half_edges_cpu(torch::stable::Tensor faces, int64_t num_vertices);
double signed_volume_cpu(torch::stable::Tensor points, torch::stable::Tensor faces);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> face_geometry_cpu(
    torch::stable::Tensor points, torch::stable::Tensor faces);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor,
           torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor>
vertex_geometry_cpu(torch::stable::Tensor twin, torch::stable::Tensor irregular, torch::stable::Tensor ptr,
                    torch::stable::Tensor outgoing, torch::stable::Tensor corner, torch::stable::Tensor face_normal,
                    torch::stable::Tensor face_area);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> one_ring_cpu(
    torch::stable::Tensor faces, torch::stable::Tensor twin, torch::stable::Tensor edge, torch::stable::Tensor corner,
    torch::stable::Tensor fan_angle, torch::stable::Tensor scale);
torch::stable::Tensor aligned_frames_cpu(torch::stable::Tensor points, torch::stable::Tensor normals,
                                         torch::stable::Tensor faces, torch::stable::Tensor reference,
                                         torch::stable::Tensor regular, torch::stable::Tensor ptr,
                                         torch::stable::Tensor src, torch::stable::Tensor direction);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> levi_civita_cpu(
    torch::stable::Tensor points, torch::stable::Tensor frames, torch::stable::Tensor regular,
    torch::stable::Tensor ptr, torch::stable::Tensor src, torch::stable::Tensor reverse,
    torch::stable::Tensor direction);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> normal_aligning_cpu(
    torch::stable::Tensor points, torch::stable::Tensor frames, torch::stable::Tensor src, torch::stable::Tensor dst);

std::tuple<torch::stable::Tensor, torch::stable::Tensor> matched_weights_cpu(
    torch::stable::Tensor ptr, torch::stable::Tensor radius, torch::stable::Tensor angle, torch::stable::Tensor share,
    torch::stable::Tensor target, int64_t max_frequency, double low, double high);

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
