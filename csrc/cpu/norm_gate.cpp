// CPU operators of normalised, gated fields with a residual. Rows are independent and sums over them run in a fixed
// order: the same bits for any number of threads.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../checks.h"
#include "../operators.h"
#include "isa.h"

namespace meshconv {
namespace {

constexpr int64_t kRowsOfBlock = 64;  // stay in cache between two passes
constexpr int64_t kRuns = 64;         // partial sums, whatever the number of threads

// Arguments, checked and contiguous; `norm` has scale, shift, mean and var.
struct GateArguments {
  GateShape shape;
  int64_t centred, fields;  // columns that are scalars; fields of the input
  Tensor x, scale, shift, mean, var;
  double eps;
  int64_t rows() const { return x.size(0); }
};

GateArguments check_gate(const char* op, const Tensor& x, const Tensor& scale, const Tensor& shift, const Tensor& mean,
                         const Tensor& var, const std::vector<int64_t>& type, int64_t odd, double eps) {
  check_real(op, "x", x);
  check_type(op, type);
  STD_TORCH_CHECK(odd >= 0 && odd <= type[0], op, ": ", odd, " odd scalars among ", type[0]);
  STD_TORCH_CHECK(x.dim() == 2, op, ": x has shape ", shape_of(x), ", expected [rows, dim]");
  GateArguments a;
  GateShape& s = a.shape;
  s.scalars = type[0] - odd;
  s.segments = static_cast<int64_t>(type.size());
  s.gates = 0;
  s.out_dim = ConvTypes::dim(type);
  for (int64_t k = 0; k < s.segments; ++k) {
    s.count[k] = k == 0 ? odd : type[k];
    s.parts[k] = k == 0 ? 1 : 2;
    s.gates += s.count[k];
  }
  s.in_dim = s.out_dim + s.gates;
  a.centred = s.scalars + s.gates;
  a.fields = a.centred + s.gates;
  a.eps = eps;
  a.x = check_tensor(op, "x", x, x, false, {-1, s.in_dim});
  a.scale = check_tensor(op, "scale", scale, x, false, {a.fields});
  a.shift = check_tensor(op, "shift", shift, x, false, {a.centred});
  a.mean = check_tensor(op, "mean", mean, x, false, {a.centred});
  a.var = check_tensor(op, "var", var, x, false, {a.fields});
  return a;
}

// Calls visit(field, column) for every column of the input.
template <typename Visit>
void each_column(const GateArguments& a, Visit visit) {
  for (int64_t c = 0; c < a.centred; ++c) visit(c, c);
  int64_t field = a.centred, column = a.centred;
  for (int64_t k = 0; k < a.shape.segments; ++k) {
    for (int64_t part = 0; part < a.shape.parts[k]; ++part)
      for (int64_t i = 0; i < a.shape.count[k]; ++i) visit(field + i, column + part * a.shape.count[k] + i);
    field += a.shape.count[k];
    column += a.shape.parts[k] * a.shape.count[k];
  }
}

// What rows are normalised by, one value per column.
template <typename T>
struct Columns {
  std::vector<T> mean, factor, shift;
  explicit Columns(const GateArguments& a) : mean(a.shape.in_dim), factor(a.shape.in_dim), shift(a.shape.in_dim) {
    const T *scale = a.scale.const_data_ptr<T>(), *var = a.var.const_data_ptr<T>();
    each_column(a, [&](int64_t field, int64_t c) { factor[c] = scale[field] / std::sqrt(var[field] + T(a.eps)); });
    std::copy_n(a.mean.const_data_ptr<T>(), a.centred, mean.begin());
    std::copy_n(a.shift.const_data_ptr<T>(), a.centred, shift.begin());
  }
  GateColumns<T> view() const { return {mean.data(), factor.data(), shift.data()}; }
};

// Calls work(run, first, count) for blocks of rows, those of one run in order.
template <typename Work>
void each_block(int64_t rows, Work work) {
  torch::stable::parallel_for(0, kRuns, 1, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run)
      for (int64_t i = run * rows / kRuns, last = (run + 1) * rows / kRuns; i < last; i += kRowsOfBlock)
        work(run, i, std::min(kRowsOfBlock, last - i));
  });
}

template <typename T>
Tensor moments(const Tensor& x, const std::vector<int64_t>& type, int64_t centred) {
  const int64_t rows = x.size(0), dim = x.size(1);
  const GateKernels<T>& kernels = best_kernels<T>().gate;
  std::vector<double> means(kRuns * dim), squares(kRuns * dim);
  std::vector<int64_t> counts(kRuns);
  const T* from = x.const_data_ptr<T>();
  each_block(rows, [&](int64_t run, int64_t first, int64_t count) {
    std::vector<T> mean(dim), square(dim);
    kernels.moments(from + first * dim, count, dim, centred, mean.data(), square.data());
    // Chan's sum of two samples' squares about their own means.
    const double before = static_cast<double>(counts[run]), now = static_cast<double>(count);
    double *m = means.data() + run * dim, *s = squares.data() + run * dim;
    for (int64_t c = 0; c < dim; ++c) {
      const double off = mean[c] - m[c];
      s[c] += square[c] + off * off * before * now / (before + now);
      m[c] += off * now / (before + now);
    }
    counts[run] += count;
  });
  double total = static_cast<double>(counts[0]);
  for (int64_t run = 1; run < kRuns; ++run) {
    const double now = static_cast<double>(counts[run]);
    if (counts[run] == 0) continue;
    for (int64_t c = 0; c < dim; ++c) {
      const double off = means[run * dim + c] - means[c];
      squares[c] += squares[run * dim + c] + off * off * total * now / (total + now);
      means[c] += off * now / (total + now);
    }
    total += now;
  }
  int64_t fields = 0;
  for (int64_t count : type) fields += count;
  Tensor out = torch::stable::new_empty(x, {centred + fields});
  T* to = out.mutable_data_ptr<T>();
  for (int64_t c = 0; c < centred; ++c) to[c] = static_cast<T>(means[c]);
  int64_t column = 0, field = centred;
  for (size_t m = 0; m < type.size(); ++m) {
    const int64_t parts = m == 0 ? 1 : 2;
    for (int64_t i = 0; i < type[m]; ++i) {
      double sum = squares[column + i];
      if (parts == 2) sum += squares[column + type[m] + i];
      to[field++] = static_cast<T>(sum / (total * static_cast<double>(parts)));
    }
    column += parts * type[m];
  }
  return out;
}

template <typename T>
Tensor apply(const GateArguments& a, const Tensor* residual) {
  Tensor y = torch::stable::new_empty(a.x, {a.rows(), a.shape.out_dim});
  const Columns<T> columns(a);
  const T *x = a.x.const_data_ptr<T>(), *more = residual ? residual->const_data_ptr<T>() : nullptr;
  T* to = y.mutable_data_ptr<T>();
  const auto run = best_kernels<T>().gate.apply;
  torch::stable::parallel_for(0, a.rows(), kRowsOfBlock, [&](int64_t begin, int64_t end) {
    run(a.shape, columns.view(), x + begin * a.shape.in_dim, more ? more + begin * a.shape.out_dim : nullptr, end - begin,
        to + begin * a.shape.out_dim);
  });
  return y;
}

using Gradients = std::tuple<Tensor, Tensor, Tensor>;

template <typename T>
Gradients gradients(const GateArguments& a, const Tensor& grad, bool batch) {
  const int64_t dim = a.shape.in_dim, out_dim = a.shape.out_dim, rows = a.rows();
  const GateKernels<T>& kernels = best_kernels<T>().gate;
  const Columns<T> columns(a);
  const T *x = a.x.const_data_ptr<T>(), *g = grad.const_data_ptr<T>();
  std::vector<double> zeros(kRuns * dim), ones(kRuns * dim);
  each_block(rows, [&](int64_t run, int64_t first, int64_t count) {
    std::vector<T> zero(dim), one(dim);
    kernels.sums(a.shape, columns.view(), x + first * dim, g + first * out_dim, count, zero.data(), one.data());
    for (int64_t c = 0; c < dim; ++c) {
      zeros[run * dim + c] += zero[c];
      ones[run * dim + c] += one[c];
    }
  });
  for (int64_t run = 1; run < kRuns; ++run)
    for (int64_t c = 0; c < dim; ++c) {
      zeros[c] += zeros[run * dim + c];
      ones[c] += ones[run * dim + c];
    }
  Tensor d_scale = torch::stable::new_empty(a.x, {a.fields}), d_shift = torch::stable::new_empty(a.x, {a.centred});
  T *to_scale = d_scale.mutable_data_ptr<T>(), *to_shift = d_shift.mutable_data_ptr<T>();
  for (int64_t c = 0; c < a.centred; ++c) to_shift[c] = static_cast<T>(zeros[c]);
  // Sums of p (x - mean) over the components of a field, and what the moments of the batch take from the gradient.
  std::vector<double> sums(a.fields), parts(a.fields);
  each_column(a, [&](int64_t field, int64_t c) {
    sums[field] += ones[c];
    parts[field] += 1;
  });
  std::vector<T> constant(dim), slope(dim);
  const T* var = a.var.const_data_ptr<T>();
  for (int64_t f = 0; f < a.fields; ++f) to_scale[f] = static_cast<T>(sums[f] / std::sqrt(var[f] + a.eps));
  if (batch) {
    const double n = static_cast<double>(rows);
    each_column(a, [&](int64_t field, int64_t c) {
      constant[c] = c < a.centred ? static_cast<T>(zeros[c] / n) : T(0);
      slope[c] = static_cast<T>(sums[field] / (n * parts[field] * (var[field] + a.eps)));
    });
  }
  Tensor dx = torch::stable::new_empty(a.x, {rows, dim});
  T* to = dx.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, rows, kRowsOfBlock, [&](int64_t begin, int64_t end) {
    kernels.gradient(a.shape, columns.view(), x + begin * dim, g + begin * out_dim, constant.data(), slope.data(),
                     end - begin, to + begin * dim);
  });
  return {dx, d_scale, d_shift};
}

bool single(const Tensor& x) { return x.scalar_type() == torch::headeronly::ScalarType::Float; }

}  // namespace

Tensor field_moments_cpu(Tensor x, std::vector<int64_t> type, int64_t odd) {
  const char* op = "field_moments";
  check_real(op, "x", x);
  check_type(op, type);
  STD_TORCH_CHECK(odd >= 0 && odd <= type[0], op, ": ", odd, " odd scalars among ", type[0]);
  STD_TORCH_CHECK(x.dim() == 2 && x.size(0) > 0, op, ": x has shape ", shape_of(x), ", expected [rows, dim] with rows");
  const Tensor rows = check_tensor(op, "x", x, x, false, {-1, ConvTypes::dim(type)});
  return single(x) ? moments<float>(rows, type, type[0] - odd) : moments<double>(rows, type, type[0] - odd);
}

Tensor norm_gate_cpu(Tensor x, Tensor scale, Tensor shift, Tensor mean, Tensor var, Tensor residual,
                     std::vector<int64_t> type, int64_t odd, double eps, bool batch) {
  const GateArguments a = check_gate("norm_gate", x, scale, shift, mean, var, type, odd, eps);
  if (residual.dim() == 1 && residual.size(0) == 0) return single(x) ? apply<float>(a, nullptr) : apply<double>(a, nullptr);
  const Tensor more = check_tensor("norm_gate", "residual", residual, x, false, {a.rows(), a.shape.out_dim});
  return single(x) ? apply<float>(a, &more) : apply<double>(a, &more);
}

Gradients norm_gate_grad_cpu(Tensor x, Tensor scale, Tensor shift, Tensor mean, Tensor var, Tensor grad,
                             std::vector<int64_t> type, int64_t odd, double eps, bool batch) {
  const GateArguments a = check_gate("norm_gate_grad", x, scale, shift, mean, var, type, odd, eps);
  const Tensor g = check_tensor("norm_gate_grad", "grad", grad, x, false, {a.rows(), a.shape.out_dim});
  return single(x) ? gradients<float>(a, g, batch) : gradients<double>(a, g, batch);
}

}  // namespace meshconv
