// Arguments of the transport-and-reduce operators, checked for every device.
#pragma once

#include "checks.h"
#include "so2.h"

namespace meshconv {

constexpr int64_t kMaxTransportOrders = 33;  // orders 0 to 32

// Where each order's fields and components begin. A plain value: it travels to kernels as it is.
struct FieldLayout {
  int64_t orders, fields, dim;
  int64_t count[kMaxTransportOrders], field_start[kMaxTransportOrders], start[kMaxTransportOrders];
};

// Whether a member replaces the best so far. The first of equals stays, and NaN, which no comparison is true for,
// is greater than any number.
MESHCONV_HD bool takes(bool none_yet, double norm, double best) {
  return none_yet || (!(norm <= best) && best == best);
}

struct SegmentArguments {
  Tensor x, transporter;
  EdgeTensors edges;
  FieldLayout layout;
  int64_t batch() const { return x.size(0); }
  template <typename T>
  TransportRows<T> members() const {
    return {edges.view(), transporter.const_data_ptr<T>()};
  }
};

inline FieldLayout field_layout(const char* op, const std::vector<int64_t>& type) {
  check_type(op, type);
  FieldLayout layout{};
  layout.orders = static_cast<int64_t>(type.size());
  for (size_t m = 0; m < type.size(); ++m) {
    layout.count[m] = type[m];
    layout.field_start[m] = layout.fields;
    layout.start[m] = layout.dim;
    layout.fields += type[m];
    layout.dim += (m == 0 ? 1 : 2) * type[m];
  }
  return layout;
}

// Every head gets the same number of channels of each order, side by side.
inline void check_heads(const char* op, const std::vector<int64_t>& type, int64_t heads) {
  STD_TORCH_CHECK(heads >= 1, op, ": ", heads, " heads, at least one is needed");
  for (int64_t count : type)
    STD_TORCH_CHECK(count % heads == 0, op, ": ", heads, " heads do not divide the multiplicities ", show(type));
}

inline SegmentArguments check_segment(const char* op, const Tensor& x, const Tensor& transporter,
                                      const Tensor& dst_ptr, const Tensor& src, const Tensor& dst,
                                      const Tensor& src_ptr, const Tensor& src_edge, const std::vector<int64_t>& type,
                                      bool transpose) {
  check_real(op, "x", x);
  STD_TORCH_CHECK(x.dim() == 3, op, ": x has shape ", shape_of(x), ", expected [batch, vertices, dim]");
  SegmentArguments a;
  a.layout = field_layout(op, type);
  a.edges = check_edges(op, dst_ptr, src, dst, src_ptr, src_edge, transpose, x);
  a.transporter = check_tensor(op, "transporter", transporter, x, false, {a.edges.count()});
  a.x = check_tensor(op, "x", x, x, false, {-1, a.edges.from(), a.layout.dim});
  return a;
}

// [batch or 1, members, heads]
inline Tensor check_member_weight(const char* op, const SegmentArguments& a, const std::vector<int64_t>& type,
                                  const Tensor& weight) {
  STD_TORCH_CHECK(weight.dim() == 3 && (weight.size(0) == 1 || weight.size(0) == a.batch()), op, ": weight has shape ",
                  shape_of(weight), ", expected [", a.batch(), " or 1, ", a.edges.count(), ", heads]");
  check_heads(op, type, weight.size(2));
  return check_tensor(op, "weight", weight, a.x, false, {-1, a.edges.count(), -1});
}

// Which member each field of each target took, -1 for none.
inline Tensor check_chosen(const char* op, const SegmentArguments& a, const Tensor& chosen) {
  return check_tensor(op, "chosen", chosen, a.x, true, {a.batch(), a.edges.targets(), a.layout.fields});
}

// [batch, members, heads], and the rows [rows + 1] that the members fall into.
inline Tensor check_values(const char* op, const Tensor& values) {
  check_real(op, "values", values);
  return check_tensor(op, "values", values, values, false, {-1, -1, -1});
}

inline Tensor check_value_rows(const char* op, const Tensor& ptr, const Tensor& values) {
  const Tensor rows = check_pointers(op, "ptr", ptr, values);
  if (!values.is_cuda())
    check_row_pointers(op, "ptr", rows.const_data_ptr<int64_t>(), rows.size(0) - 1, values.size(1));
  return rows;
}

}  // namespace meshconv
