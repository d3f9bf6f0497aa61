// Validation shared by the operators of every device: a wrong tensor is an error with the numbers in it.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <string>
#include <vector>

#include "rows.h"

namespace meshconv {

using torch::stable::Tensor;

struct ConvTypes {
  std::vector<int64_t> in, out;  // multiplicity per order, from order 0
  static int64_t dim(const std::vector<int64_t>& counts) {
    int64_t d = 0;
    for (size_t m = 0; m < counts.size(); ++m) d += (m == 0 ? 1 : 2) * counts[m];
    return d;
  }
};

// Both directions of a graph in compressed rows, checked and contiguous.
struct EdgeTensors {
  Tensor dst_ptr, src, dst, src_ptr, src_edge;
  bool transpose;
  int64_t sources() const { return src_ptr.size(0) - 1; }
  int64_t targets() const { return dst_ptr.size(0) - 1; }
  int64_t count() const { return src.size(0); }
  int64_t rows() const { return transpose ? sources() : targets(); }
  int64_t from() const { return transpose ? targets() : sources(); }
  Rows view() const {
    return {(transpose ? src_ptr : dst_ptr).const_data_ptr<int64_t>(),
            src.const_data_ptr<int64_t>(),
            dst.const_data_ptr<int64_t>(),
            src_edge.const_data_ptr<int64_t>(),
            rows(),
            from(),
            count(),
            transpose};
  }
};

// Arguments of a convolution, checked and contiguous.
struct ConvArguments {
  Tensor x, radial, angle, transporter;
  EdgeTensors edges;
  ConvTypes types;
  template <typename T>
  ConvRows<T> view() const {
    return {edges.view(), radial.const_data_ptr<T>(), angle.const_data_ptr<T>(), transporter.const_data_ptr<T>()};
  }
};

inline std::string shape_of(const Tensor& t) {
  std::string s = "[";
  for (int64_t i = 0; i < t.dim(); ++i) s += (i ? ", " : "") + std::to_string(t.size(i));
  return s + "]";
}

inline std::string show(const std::vector<int64_t>& v) {
  std::string s = "[";
  for (size_t i = 0; i < v.size(); ++i) s += (i ? ", " : "") + std::to_string(v[i]);
  return s + "]";
}

// `like` gives the device and, for real tensors, the dtype. A size of -1 is free.
inline Tensor check_tensor(const char* op, const char* name, const Tensor& t, const Tensor& like, bool index,
                           const std::vector<int64_t>& sizes) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(t.is_cuda() == like.is_cuda() && t.get_device() == like.get_device(), op, ": ", name,
                  " is on another device than x");
  STD_TORCH_CHECK(t.scalar_type() == (index ? ScalarType::Long : like.scalar_type()), op, ": ", name,
                  index ? " has to be int64" : " has to have the dtype of x");
  bool fits = t.dim() == static_cast<int64_t>(sizes.size());
  for (size_t i = 0; fits && i < sizes.size(); ++i) fits = sizes[i] < 0 || t.size(i) == sizes[i];
  STD_TORCH_CHECK(fits, op, ": ", name, " has shape ", shape_of(t), ", expected ", show(sizes),
                  " (-1: any size)");
  return t.is_contiguous() ? t : torch::stable::contiguous(t);
}

// Multiplicities of a type; the bound keeps every size that is computed from them within 64 bits.
inline void check_type(const char* op, const std::vector<int64_t>& type) {
  STD_TORCH_CHECK(!type.empty() && type.size() <= 33, op, ": a type needs orders between 0 and 32, got ", type.size(),
                  " multiplicities");
  for (int64_t c : type)
    STD_TORCH_CHECK(c >= 0 && c < (int64_t{1} << 31), op, ": multiplicity ", c, " in ", show(type));
}

inline Tensor check_pointers(const char* op, const char* name, const Tensor& ptr, const Tensor& like) {
  STD_TORCH_CHECK(ptr.dim() == 1 && ptr.size(0) >= 1, op, ": ", name, " needs at least one element");
  return check_tensor(op, name, ptr, like, true, {-1});
}

inline EdgeTensors check_edges(const char* op, const Tensor& dst_ptr, const Tensor& src, const Tensor& dst,
                               const Tensor& src_ptr, const Tensor& src_edge, bool transpose, const Tensor& like) {
  STD_TORCH_CHECK(src.dim() == 1, op, ": src has shape ", shape_of(src), ", expected [edges]");
  EdgeTensors edges;
  edges.transpose = transpose;
  edges.dst_ptr = check_pointers(op, "dst_ptr", dst_ptr, like);
  edges.src_ptr = check_pointers(op, "src_ptr", src_ptr, like);
  edges.src = check_tensor(op, "src", src, like, true, {-1});
  edges.dst = check_tensor(op, "dst", dst, like, true, {edges.count()});
  edges.src_edge = check_tensor(op, "src_edge", src_edge, like, true, {edges.count()});
  if (!like.is_cuda()) check_edge_values(op, edges.view());
  return edges;
}

inline void check_real(const char* op, const char* name, const Tensor& t) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(t.scalar_type() == ScalarType::Float || t.scalar_type() == ScalarType::Double, op, ": ", name,
                  " has to be float32 or float64");
}

inline ConvArguments check_arguments(const char* op, const Tensor& x, const Tensor& radial, const Tensor& angle,
                                     const Tensor& transporter, const Tensor& dst_ptr, const Tensor& src,
                                     const Tensor& dst, const Tensor& src_ptr, const Tensor& src_edge,
                                     const std::vector<int64_t>& in_type, const std::vector<int64_t>& out_type,
                                     bool transpose) {
  check_real(op, "x", x);
  check_type(op, in_type);
  check_type(op, out_type);
  STD_TORCH_CHECK(x.dim() == 3, op, ": x has shape ", shape_of(x), ", expected [batch, vertices, dim]");
  ConvArguments a;
  a.types = {in_type, out_type};
  a.edges = check_edges(op, dst_ptr, src, dst, src_ptr, src_edge, transpose, x);
  const int64_t edges = a.edges.count();
  a.x = check_tensor(op, "x", x, x, false, {-1, a.edges.from(), ConvTypes::dim(in_type)});
  a.radial = check_tensor(op, "radial", radial, x, false, {edges, -1});
  a.angle = check_tensor(op, "angle", angle, x, false, {edges});
  a.transporter = check_tensor(op, "transporter", transporter, x, false, {edges});
  return a;
}

inline Tensor check_weight(const char* op, const ConvArguments& a, const Tensor& weight, int64_t radial) {
  STD_TORCH_CHECK(radial >= 1, op, ": at least one radial function is needed, got ", radial);
  return check_tensor(op, "weight", weight, a.x, false,
                      {radial, ConvTypes::dim(a.types.in), ConvTypes::dim(a.types.out)});
}

inline Tensor check_gradient(const char* op, const ConvArguments& a, const Tensor& grad) {
  return check_tensor(op, "grad", grad, a.x, false, {a.x.size(0), a.edges.rows(), ConvTypes::dim(a.types.out)});
}

}  // namespace meshconv
