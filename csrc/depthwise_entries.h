// The operators' entry points, the same for every device: check, then call the device's own depthwise, weight_gradient and
// edge_gradient. Included inside namespace meshconv, with MESHCONV_DEVICE giving the names' endings.

#define MESHCONV_BY_DTYPE(x, call) \
  ((x).scalar_type() == torch::headeronly::ScalarType::Float ? call<float> : call<double>)

Tensor MESHCONV_DEVICE(depthwise_conv)(Tensor x, Tensor weight, Tensor radial, Tensor angle, Tensor transporter,
                                       Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, Tensor src_edge,
                                       std::vector<int64_t> in_type, std::vector<int64_t> out_type, bool transpose) {
  const ConvArguments a = check_arguments("depthwise_conv", x, radial, angle, transporter, dst_ptr, src, dst, src_ptr,
                                          src_edge, in_type, out_type, transpose);
  const Tensor w = check_depthwise_weight("depthwise_conv", a, weight, a.radial.size(1));
  return MESHCONV_BY_DTYPE(x, depthwise)(a, w);
}

Tensor MESHCONV_DEVICE(depthwise_conv_weight)(Tensor x, Tensor grad, Tensor radial, Tensor angle, Tensor transporter,
                                              Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, Tensor src_edge,
                                              std::vector<int64_t> in_type, std::vector<int64_t> out_type,
                                              bool transpose) {
  const ConvArguments a = check_arguments("depthwise_conv_weight", x, radial, angle, transporter, dst_ptr, src, dst,
                                          src_ptr, src_edge, in_type, out_type, transpose);
  check_channels("depthwise_conv_weight", a.types);
  const Tensor g = check_gradient("depthwise_conv_weight", a, grad);
  return MESHCONV_BY_DTYPE(x, weight_gradient)(a, g);
}

Tensor MESHCONV_DEVICE(depthwise_conv_edge)(Tensor x, Tensor grad, Tensor weight, Tensor angle, Tensor transporter,
                                            Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr, Tensor src_edge,
                                            std::vector<int64_t> in_type, std::vector<int64_t> out_type,
                                            bool transpose) {
  // The radial functions' values do not enter their own gradient; an empty column keeps the arguments uniform.
  const Tensor none = torch::stable::new_empty(x, {src.size(0), 0});
  const ConvArguments a = check_arguments("depthwise_conv_edge", x, none, angle, transporter, dst_ptr, src, dst,
                                          src_ptr, src_edge, in_type, out_type, transpose);
  const Tensor w = check_depthwise_weight("depthwise_conv_edge", a, weight, weight.size(0));
  const Tensor g = check_gradient("depthwise_conv_edge", a, grad);
  return MESHCONV_BY_DTYPE(x, edge_gradient)(a, w, g);
}

#undef MESHCONV_BY_DTYPE
#undef MESHCONV_DEVICE
