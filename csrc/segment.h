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

// Members in compressed rows of whoever collects: targets, or sources for the adjoint.
template <typename T>
struct Members {
  const T* transporter;
  const int64_t *ptr, *src, *dst, *src_edge;
  bool transpose;
  MESHCONV_HD int64_t edge(int64_t slot) const { return transpose ? src_edge[slot] : slot; }
  MESHCONV_HD int64_t neighbour(int64_t e) const { return transpose ? dst[e] : src[e]; }
  MESHCONV_HD T angle(int64_t e) const { return transpose ? -transporter[e] : transporter[e]; }
};

// Whether a member replaces the best so far. The first of equals stays, and NaN, which no comparison is true for,
// is greater than any number.
MESHCONV_HD bool takes(bool none_yet, double norm, double best) {
  return none_yet || (!(norm <= best) && best == best);
}

struct SegmentArguments {
  Tensor x, transporter, dst_ptr, src, dst, src_ptr, src_edge;
  FieldLayout layout;
  bool transpose;
  int64_t batch() const { return x.size(0); }
  int64_t sources() const { return src_ptr.size(0) - 1; }
  int64_t targets() const { return dst_ptr.size(0) - 1; }
  int64_t rows() const { return transpose ? sources() : targets(); }
  int64_t from() const { return transpose ? targets() : sources(); }
  int64_t edges() const { return src.size(0); }
  template <typename T>
  Members<T> members() const {
    return {transporter.const_data_ptr<T>(),
            (transpose ? src_ptr : dst_ptr).const_data_ptr<int64_t>(),
            src.const_data_ptr<int64_t>(),
            dst.const_data_ptr<int64_t>(),
            src_edge.const_data_ptr<int64_t>(),
            transpose};
  }
};

inline FieldLayout field_layout(const char* op, const std::vector<int64_t>& type) {
  STD_TORCH_CHECK(!type.empty() && type.size() <= kMaxTransportOrders, op,
                  ": a type needs orders between 0 and 32, got ", type.size(), " multiplicities");
  FieldLayout layout{};
  layout.orders = static_cast<int64_t>(type.size());
  for (size_t m = 0; m < type.size(); ++m) {
    STD_TORCH_CHECK(type[m] >= 0, op, ": negative multiplicity in ", show(type));
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

inline void check_real(const char* op, const char* name, const Tensor& t) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(t.scalar_type() == ScalarType::Float || t.scalar_type() == ScalarType::Double, op, ": ", name,
                  " has to be float32 or float64");
}

inline Tensor check_rows(const char* op, const char* name, const Tensor& ptr, const Tensor& like) {
  STD_TORCH_CHECK(ptr.dim() == 1 && ptr.size(0) >= 1, op, ": ", name, " needs at least one element");
  return check_tensor(op, name, ptr, like, true, {-1});
}

inline SegmentArguments check_segment(const char* op, const Tensor& x, const Tensor& transporter,
                                      const Tensor& dst_ptr, const Tensor& src, const Tensor& dst,
                                      const Tensor& src_ptr, const Tensor& src_edge, const std::vector<int64_t>& type,
                                      bool transpose) {
  check_real(op, "x", x);
  STD_TORCH_CHECK(x.dim() == 3, op, ": x has shape ", shape_of(x), ", expected [batch, vertices, dim]");
  STD_TORCH_CHECK(src.dim() == 1, op, ": src has shape ", shape_of(src), ", expected [members]");
  SegmentArguments a;
  a.layout = field_layout(op, type);
  a.transpose = transpose;
  a.dst_ptr = check_rows(op, "dst_ptr", dst_ptr, x);
  a.src_ptr = check_rows(op, "src_ptr", src_ptr, x);
  a.src = check_tensor(op, "src", src, x, true, {-1});
  a.dst = check_tensor(op, "dst", dst, x, true, {a.edges()});
  a.src_edge = check_tensor(op, "src_edge", src_edge, x, true, {a.edges()});
  a.transporter = check_tensor(op, "transporter", transporter, x, false, {a.edges()});
  a.x = check_tensor(op, "x", x, x, false, {-1, a.from(), a.layout.dim});
  return a;
}

// [batch or 1, members, heads]
inline Tensor check_member_weight(const char* op, const SegmentArguments& a, const std::vector<int64_t>& type,
                                  const Tensor& weight) {
  STD_TORCH_CHECK(weight.dim() == 3 && (weight.size(0) == 1 || weight.size(0) == a.batch()), op, ": weight has shape ",
                  shape_of(weight), ", expected [", a.batch(), " or 1, ", a.edges(), ", heads]");
  check_heads(op, type, weight.size(2));
  return check_tensor(op, "weight", weight, a.x, false, {-1, a.edges(), -1});
}

// Which member each field of each target took, -1 for none.
inline Tensor check_chosen(const char* op, const SegmentArguments& a, const Tensor& chosen) {
  return check_tensor(op, "chosen", chosen, a.x, true, {a.batch(), a.targets(), a.layout.fields});
}

// [batch, members, heads]
inline Tensor check_values(const char* op, const Tensor& values) {
  check_real(op, "values", values);
  return check_tensor(op, "values", values, values, false, {-1, -1, -1});
}

}  // namespace meshconv
