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

torch::stable::Tensor gauge_conv_point_cpu(torch::stable::Tensor x, torch::stable::Tensor weight,
                                           torch::stable::Tensor radial, torch::stable::Tensor point,
                                           torch::stable::Tensor bias, torch::stable::Tensor angle,
                                           torch::stable::Tensor transporter, torch::stable::Tensor dst_ptr,
                                           torch::stable::Tensor src, torch::stable::Tensor dst,
                                           torch::stable::Tensor src_ptr, torch::stable::Tensor src_edge,
                                           std::vector<int64_t> in_type, std::vector<int64_t> out_type, bool transpose);
torch::stable::Tensor field_moments_cpu(torch::stable::Tensor x, std::vector<int64_t> type, int64_t odd);
torch::stable::Tensor norm_gate_cpu(torch::stable::Tensor x, torch::stable::Tensor scale, torch::stable::Tensor shift,
                                    torch::stable::Tensor mean, torch::stable::Tensor var,
                                    torch::stable::Tensor residual, std::vector<int64_t> type, int64_t odd, double eps,
                                    bool batch);
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> norm_gate_grad_cpu(
    torch::stable::Tensor x, torch::stable::Tensor scale, torch::stable::Tensor shift, torch::stable::Tensor mean,
    torch::stable::Tensor var, torch::stable::Tensor grad, std::vector<int64_t> type, int64_t odd, double eps,
    bool batch);

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
std::tuple<torch::stable::Tensor, torch::stable::Tensor, torch::stable::Tensor> transposed_rows_cpu(
    torch::stable::Tensor ptr, torch::stable::Tensor column, int64_t num_columns);
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

// Shapes: B batch entries on one graph, V_src sources, V_dst targets, E edges, R radial functions, D feature lengths.
//   x [B, V_src, D_in], weight [R, D_in, D_out], radial [E, R], angle [E], transporter [E],
//   dst_ptr [V_dst + 1], src [E], dst [E], src_ptr [V_src + 1], src_edge [E]; types are multiplicities per order.
// With transpose the operator runs along the edges backwards (angle - transporter, -transporter) and x has V_dst rows:
// gauge_conv(transpose, weight^T) is the adjoint of gauge_conv. The three are closed under differentiation:
//   gauge_conv         y = sum_e sum_b radial_eb rho_out(angle) W_b^T rho_in(transporter - angle) x_src   [B, V_dst, D_out]
//   gauge_conv_weight  d<grad, y>/d weight   [R, D_in, D_out]
//   gauge_conv_edge    d<grad, y>/d radial   [E, R]
// depthwise_conv and its derivatives: the same with C fields of every order and kernels of one channel,
//   weight [R, 2 N + 1, 2 M + 1, C]
#define MESHCONV_GRAPH                                                                                   \
  "Tensor angle, Tensor transporter, Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, "           \
  "Tensor src_edge, int[] in_type, int[] out_type, bool transpose) -> Tensor"

// Transport and reduce, over the members e of a row (edges of a graph, or points of a cluster), arguments as above;
// weight [B or 1, E, H], H heads that each own the same number of channels of every order. The adjoint of
// transport_sum is itself with transpose, that of transport_select as well.
//   transport_sum      y = sum_e weight_e rho(transporter) x_src                                [B, V_dst, D]
//   transport_dot      <y_dst, rho(transporter) x_src> per head                                 [B, E, H]
//   transport_argmax   the member whose field is longest, int64, -1 in empty rows               [B, V_dst, fields]
//   transport_select   y = rho(transporter) x_src of the member `chosen` for each field         [B, V_dst, D]
//   segment_softmax    over the members of each row, logits [B, E, H], ptr [rows + 1]           [B, E, H]
//   segment_total      each member gets the sum over its row                                    [B, E, H]
#define MESHCONV_MEMBERS "Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, Tensor src_edge, int[] type, "

// Fourier nonlinearity of x [rows, 2 M + 1, channels] and its derivatives, see cpu/fourier_kernel.h:
//   fourier_act            s F_0(x),   fourier_act_grad   F_1(x; s grad),   fourier_act_curvature   F_2(x; s grad, grad_grad)

// Names and schemas of the operators of layers, which every device has.
#define MESHCONV_LAYER_OPERATORS(each) \
  each(gauge_conv, "(Tensor x, Tensor weight, Tensor radial, " MESHCONV_GRAPH) \
  each(gauge_conv_weight, "(Tensor x, Tensor grad, Tensor radial, " MESHCONV_GRAPH) \
  each(gauge_conv_edge, "(Tensor x, Tensor grad, Tensor weight, " MESHCONV_GRAPH) \
  each(depthwise_conv, "(Tensor x, Tensor weight, Tensor radial, " MESHCONV_GRAPH) \
  each(depthwise_conv_weight, "(Tensor x, Tensor grad, Tensor radial, " MESHCONV_GRAPH) \
  each(depthwise_conv_edge, "(Tensor x, Tensor grad, Tensor weight, " MESHCONV_GRAPH) \
  each(transport_sum, "(Tensor x, Tensor weight, Tensor transporter, " MESHCONV_MEMBERS "bool transpose) -> Tensor") \
  each(transport_dot, "(Tensor x, Tensor y, Tensor transporter, " MESHCONV_MEMBERS "int heads) -> Tensor") \
  each(transport_argmax, "(Tensor x, " MESHCONV_MEMBERS "bool signed_scalars) -> Tensor") \
  each(transport_select, "(Tensor x, Tensor chosen, Tensor transporter, " MESHCONV_MEMBERS "bool transpose) -> Tensor") \
  each(segment_softmax, "(Tensor logits, Tensor ptr) -> Tensor") \
  each(segment_total, "(Tensor values, Tensor ptr) -> Tensor") \
  each(fourier_act, "(Tensor x, int samples, str activation) -> Tensor") \
  each(fourier_act_grad, "(Tensor x, Tensor grad, int samples, str activation) -> Tensor") \
  each(fourier_act_curvature, "(Tensor x, Tensor grad, Tensor grad_grad, int samples, str activation) -> Tensor")

// Operators of layers that are compiled for the CPU; elsewhere they are composed of others (meshconv/ops).
//   gauge_conv_point  gauge_conv + x point + bias for as many sources as targets: point [D_in, D_out], of which the blocks
//                     between equal orders are used, bias [at most the scalars] or [0]
//   field_moments     of x [rows, D]: means of the invariant scalars, then per field the mean square of a component,
//                     about the mean where there is one   [scalars + fields]
//   norm_gate         gate(scale (x - mean) / sqrt(var + eps) + shift) + residual, x [rows, D + gates], residual [rows, D]
//                     or [0]; `type` and `odd` (scalars) are those of the output. With `batch`, mean and var are moments
//                     of x, and the derivative is that of all rows together.
//   norm_gate_grad    its gradients of x, scale and shift
#define MESHCONV_NORM "Tensor x, Tensor scale, Tensor shift, Tensor mean, Tensor var, "
#define MESHCONV_GATE "int[] type, int odd, float eps, bool batch) -> "
#define MESHCONV_BLOCK_OPERATORS(each) \
  each(gauge_conv_point, "(Tensor x, Tensor weight, Tensor radial, Tensor point, Tensor bias, " MESHCONV_GRAPH) \
  each(field_moments, "(Tensor x, int[] type, int odd) -> Tensor") \
  each(norm_gate, "(" MESHCONV_NORM "Tensor residual, " MESHCONV_GATE "Tensor") \
  each(norm_gate_grad, "(" MESHCONV_NORM "Tensor grad, " MESHCONV_GATE "(Tensor, Tensor, Tensor)")
