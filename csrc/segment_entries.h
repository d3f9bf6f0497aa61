// The operators' entry points, the same for every device: check, then call the device's own sum, member_dot, argmax,
// select, softmax and total. Included inside namespace meshconv, with MESHCONV_DEVICE giving the names' endings.

#define MESHCONV_BY_DTYPE(x, call) \
  ((x).scalar_type() == torch::headeronly::ScalarType::Float ? call<float> : call<double>)

Tensor MESHCONV_DEVICE(transport_sum)(Tensor x, Tensor weight, Tensor transporter, Tensor dst_ptr, Tensor src,
                                      Tensor dst, Tensor src_ptr, Tensor src_edge, std::vector<int64_t> type,
                                      bool transpose) {
  const SegmentArguments a =
      check_segment("transport_sum", x, transporter, dst_ptr, src, dst, src_ptr, src_edge, type, transpose);
  return MESHCONV_BY_DTYPE(x, sum)(a, check_member_weight("transport_sum", a, type, weight));
}

Tensor MESHCONV_DEVICE(transport_dot)(Tensor x, Tensor y, Tensor transporter, Tensor dst_ptr, Tensor src, Tensor dst,
                                      Tensor src_ptr, Tensor src_edge, std::vector<int64_t> type, int64_t heads) {
  const SegmentArguments a =
      check_segment("transport_dot", x, transporter, dst_ptr, src, dst, src_ptr, src_edge, type, false);
  check_heads("transport_dot", type, heads);
  const Tensor target = check_tensor("transport_dot", "y", y, x, false, {a.batch(), a.edges.targets(), a.layout.dim});
  return MESHCONV_BY_DTYPE(x, member_dot)(a, target, heads);
}

// Lengths do not see the transporters; unread values keep the arguments uniform.
Tensor MESHCONV_DEVICE(transport_argmax)(Tensor x, Tensor dst_ptr, Tensor src, Tensor dst, Tensor src_ptr,
                                         Tensor src_edge, std::vector<int64_t> type, bool signed_scalars) {
  const Tensor none = torch::stable::new_empty(x, {src.size(0)});
  const SegmentArguments a =
      check_segment("transport_argmax", x, none, dst_ptr, src, dst, src_ptr, src_edge, type, false);
  return MESHCONV_BY_DTYPE(x, argmax)(a, signed_scalars);
}

Tensor MESHCONV_DEVICE(transport_select)(Tensor x, Tensor chosen, Tensor transporter, Tensor dst_ptr, Tensor src,
                                         Tensor dst, Tensor src_ptr, Tensor src_edge, std::vector<int64_t> type,
                                         bool transpose) {
  const SegmentArguments a =
      check_segment("transport_select", x, transporter, dst_ptr, src, dst, src_ptr, src_edge, type, transpose);
  return MESHCONV_BY_DTYPE(x, select)(a, check_chosen("transport_select", a, chosen));
}

Tensor MESHCONV_DEVICE(segment_softmax)(Tensor logits, Tensor ptr) {
  const Tensor values = check_values("segment_softmax", logits);
  return MESHCONV_BY_DTYPE(logits, softmax)(values, check_value_rows("segment_softmax", ptr, values));
}

Tensor MESHCONV_DEVICE(segment_total)(Tensor values, Tensor ptr) {
  const Tensor checked = check_values("segment_total", values);
  return MESHCONV_BY_DTYPE(values, total)(checked, check_value_rows("segment_total", ptr, checked));
}

#undef MESHCONV_BY_DTYPE
#undef MESHCONV_DEVICE
