// The entry points of a convolution's three operators, the same for dense and depthwise kernels on every device: check, then
// call the includer's own conv, conv_weight and conv_edge. Included inside namespace meshconv, with MESHCONV_ENTRY(suffix) for
// the functions' names, MESHCONV_NAME for what messages call the operator, and MESHCONV_CHECK_WEIGHT.

#define MESHCONV_BY_DTYPE(x, call) \
  ((x).scalar_type() == torch::headeronly::ScalarType::Float ? call<float> : call<double>)

Tensor MESHCONV_ENTRY()(Tensor x, Tensor weight, Tensor radial, Tensor angle, Tensor transporter, Tensor dst_ptr, Tensor src,
                        Tensor dst, Tensor src_ptr, Tensor src_edge, std::vector<int64_t> in_type,
                        std::vector<int64_t> out_type, bool transpose) {
  const ConvArguments a = check_arguments(MESHCONV_NAME, x, radial, angle, transporter, dst_ptr, src, dst, src_ptr,
                                          src_edge, in_type, out_type, transpose);
  const Tensor w = MESHCONV_CHECK_WEIGHT(MESHCONV_NAME, a, weight, a.radial.size(1));
  return MESHCONV_BY_DTYPE(x, conv)(a, w);
}

Tensor MESHCONV_ENTRY(_weight)(Tensor x, Tensor grad, Tensor radial, Tensor angle, Tensor transporter, Tensor dst_ptr,
                               Tensor src, Tensor dst, Tensor src_ptr, Tensor src_edge, std::vector<int64_t> in_type,
                               std::vector<int64_t> out_type, bool transpose) {
  const ConvArguments a = check_arguments(MESHCONV_NAME "_weight", x, radial, angle, transporter, dst_ptr, src, dst,
                                          src_ptr, src_edge, in_type, out_type, transpose);
  const Tensor g = check_gradient(MESHCONV_NAME "_weight", a, grad);
  return MESHCONV_BY_DTYPE(x, conv_weight)(a, g);
}

Tensor MESHCONV_ENTRY(_edge)(Tensor x, Tensor grad, Tensor weight, Tensor angle, Tensor transporter, Tensor dst_ptr, Tensor src,
                             Tensor dst, Tensor src_ptr, Tensor src_edge, std::vector<int64_t> in_type,
                             std::vector<int64_t> out_type, bool transpose) {
  // The radial functions' values do not enter their own gradient; an empty column keeps the arguments uniform.
  const Tensor none = torch::stable::new_empty(x, {src.size(0), 0});
  const ConvArguments a = check_arguments(MESHCONV_NAME "_edge", x, none, angle, transporter, dst_ptr, src, dst, src_ptr,
                                          src_edge, in_type, out_type, transpose);
  const Tensor w = MESHCONV_CHECK_WEIGHT(MESHCONV_NAME "_edge", a, weight, weight.size(0));
  const Tensor g = check_gradient(MESHCONV_NAME "_edge", a, grad);
  return MESHCONV_BY_DTYPE(x, conv_edge)(a, w, g);
}

#undef MESHCONV_BY_DTYPE
#undef MESHCONV_ENTRY
#undef MESHCONV_NAME
#undef MESHCONV_CHECK_WEIGHT
