// CPU operators that transport the members of a row into its frame and reduce them. Every output row has one owner
// that adds in the order of the members: the same bits for any number of threads.
#include "../segment.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../operators.h"

namespace meshconv {
namespace {

// Rows a task, so that a task is worth its start.
int64_t grain(int64_t work_per_row) { return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, work_per_row)); }

int64_t work_per_row(const SegmentArguments& a) {
  return (a.edges.count() / std::max<int64_t>(1, a.edges.rows()) + 1) * a.layout.dim;
}

// The rotation by an angle, which scalars alone do not need.
template <typename T>
Rotation<T> turn(const FieldLayout& layout, T angle) {
  return layout.orders > 1 ? rotation(angle) : Rotation<T>{T(1), T(0)};
}

// y += w rho(r) x for `count` fields of order m > 0 whose sine components lie `half` behind the cosines.
template <typename T>
void add_turned(int64_t count, int64_t half, T w, Rotation<T> r, const T* __restrict x, T* __restrict y) {
  const T c = w * r.c, s = w * r.s;
  const T* __restrict xs = x + half;
  T* __restrict ys = y + half;
  for (int64_t i = 0; i < count; ++i) {
    y[i] += c * x[i] - s * xs[i];
    ys[i] += s * x[i] + c * xs[i];
  }
}

// The same with a weight of its own for every field.
template <typename T>
void add_turned_each(int64_t count, const T* __restrict w, Rotation<T> r, const T* __restrict x, T* __restrict y) {
  const T* __restrict xs = x + count;
  T* __restrict ys = y + count;
  for (int64_t i = 0; i < count; ++i) {
    const T c = w[i] * r.c, s = w[i] * r.s;
    y[i] += c * x[i] - s * xs[i];
    ys[i] += s * x[i] + c * xs[i];
  }
}

// A long row, all points of a surface say, is summed in runs of this many members, or float32 would lose digits.
constexpr int64_t kRun = 64;

// Move the sum of a run to the row's total.
template <typename T>
void carry(int64_t dim, T* __restrict run, double* __restrict total) {
  for (int64_t c = 0; c < dim; ++c) {
    total[c] += run[c];
    run[c] = T(0);
  }
}

template <typename T>
Tensor sum(const SegmentArguments& a, const Tensor& weight) {
  const FieldLayout layout = a.layout;
  const TransportRows<T> members = a.members<T>();
  const int64_t batch = a.batch(), rows = members.rows, from = members.from, heads = weight.size(2);
  const int64_t weight_batch = weight.size(0) == 1 ? 0 : members.edges * heads;
  Tensor out = torch::stable::new_zeros(a.x, {batch, rows, layout.dim});
  const T *x = a.x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>();
  T* y = out.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, batch * rows, grain(work_per_row(a)), [&](int64_t begin, int64_t end) {
    std::vector<double> total;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / rows, row = i % rows, first = members.begin(row), last = members.end(row);
      T* __restrict to = y + i * layout.dim;
      const bool is_long = last - first > kRun;
      if (is_long) total.assign(layout.dim, 0.0);
      for (int64_t slot = first; slot < last; ++slot) {
        if (is_long && (slot - first) % kRun == 0) carry(layout.dim, to, total.data());
        const int64_t e = members.edge(slot);
        const T* __restrict member = x + (n * from + members.neighbour(e)) * layout.dim;
        const T* factor = w + n * weight_batch + e * heads;
        const Rotation<T> step = turn(layout, members.angle(e));
        Rotation<T> r{T(1), T(0)};
        for (int64_t m = 0; m < layout.orders; ++m, r = r * step) {
          const int64_t count = layout.count[m], some = count / heads, start = layout.start[m];
          if (some == 1 && m > 0) {
            add_turned_each(count, factor, r, member + start, to + start);
            continue;
          }
          for (int64_t h = 0; h < heads; ++h) {
            const int64_t at = start + h * some;
            if (m > 0)
              add_turned(some, count, factor[h], r, member + at, to + at);
            else
              for (int64_t c = at; c < at + some; ++c) to[c] += factor[h] * member[c];
          }
        }
      }
      if (is_long) {
        carry(layout.dim, to, total.data());
        for (int64_t c = 0; c < layout.dim; ++c) to[c] = static_cast<T>(total[c]);
      }
    }
  });
  return out;
}

template <typename T>
T dot(int64_t count, const T* a, const T* b) {
  constexpr int kLanes = 8;  // partial sums that the compiler may keep in one vector
  T sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int l = 0; l < kLanes; ++l) sums[l] += a[i + l] * b[i + l];
  for (int l = 0; i < count; ++i, ++l) sums[l] += a[i] * b[i];
  T total = 0;
  for (T s : sums) total += s;
  return total;
}

template <typename T>
Tensor member_dot(const SegmentArguments& a, const Tensor& target, int64_t heads) {
  const FieldLayout layout = a.layout;
  const TransportRows<T> members = a.members<T>();
  const int64_t batch = a.batch(), edges = members.edges, sources = members.from, targets = members.rows;
  Tensor out = torch::stable::new_empty(a.x, {batch, edges, heads});
  const T *x = a.x.const_data_ptr<T>(), *y = target.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, batch * edges, grain(layout.dim), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / edges, e = i % edges;
      const T* u = x + (n * sources + members.neighbour(e)) * layout.dim;
      const T* v = y + (n * targets + members.target(e)) * layout.dim;
      const Rotation<T> step = turn(layout, members.transporter[e]);
      T* __restrict of_head = to + i * heads;
      std::fill(of_head, of_head + heads, T(0));
      Rotation<T> r{T(1), T(0)};
      for (int64_t m = 0; m < layout.orders; ++m, r = r * step) {
        const int64_t count = layout.count[m], some = count / heads;
        const T *uc = u + layout.start[m], *vc = v + layout.start[m], *us = uc + count, *vs = vc + count;
        if (some == 1 && m > 0) {  // the loop over heads is the one to be vectorised
          for (int64_t h = 0; h < heads; ++h)
            of_head[h] += r.c * (uc[h] * vc[h] + us[h] * vs[h]) + r.s * (uc[h] * vs[h] - us[h] * vc[h]);
          continue;
        }
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t k = h * some;
          of_head[h] += m == 0 ? dot(some, uc + k, vc + k)
                               : r.c * (dot(some, uc + k, vc + k) + dot(some, us + k, vs + k)) +
                                     r.s * (dot(some, uc + k, vs + k) - dot(some, us + k, vc + k));
        }
      }
    }
  });
  return out;
}

template <typename T>
Tensor argmax(const SegmentArguments& a, bool signed_scalars) {
  const FieldLayout layout = a.layout;
  const TransportRows<T> members = a.members<T>();
  const int64_t batch = a.batch(), rows = members.rows, from = members.from;
  Tensor out = torch::stable::new_empty(a.x, {batch, rows, layout.fields}, torch::headeronly::ScalarType::Long);
  const T* x = a.x.const_data_ptr<T>();
  int64_t* chosen = out.mutable_data_ptr<int64_t>();
  torch::stable::parallel_for(0, batch * rows, grain(work_per_row(a)), [&](int64_t begin, int64_t end) {
    std::vector<double> best(layout.fields);  // squares of float32 do not overflow in it
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / rows, row = i % rows;
      int64_t* to = chosen + i * layout.fields;
      std::fill(to, to + layout.fields, int64_t{-1});
      for (int64_t slot = members.begin(row); slot < members.end(row); ++slot) {
        const T* member = x + (n * from + members.neighbour(slot)) * layout.dim;
        for (int64_t m = 0; m < layout.orders; ++m) {
          const int64_t count = layout.count[m];
          for (int64_t c = 0; c < count; ++c) {
            const double re = member[layout.start[m] + c];
            const double im = m > 0 ? static_cast<double>(member[layout.start[m] + count + c]) : 0.0;
            const double norm = m > 0 ? re * re + im * im : signed_scalars ? re : std::abs(re);
            const int64_t f = layout.field_start[m] + c;
            if (takes(to[f] < 0, norm, best[f])) {
              best[f] = norm;
              to[f] = slot;
            }
          }
        }
      }
    }
  });
  return out;
}

template <typename T>
Tensor select(const SegmentArguments& a, const Tensor& chosen) {
  const FieldLayout layout = a.layout;
  const TransportRows<T> members = a.members<T>();
  const int64_t batch = a.batch(), rows = members.rows, from = members.from, targets = a.edges.targets();
  Tensor out = torch::stable::new_zeros(a.x, {batch, rows, layout.dim});
  const T* x = a.x.const_data_ptr<T>();
  const int64_t* choice = chosen.const_data_ptr<int64_t>();
  T* y = out.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, batch * rows, grain(work_per_row(a)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t n = i / rows, row = i % rows;
      T* to = y + i * layout.dim;
      for (int64_t slot = members.begin(row); slot < members.end(row); ++slot) {
        const int64_t e = members.edge(slot);
        const T* member = x + (n * from + members.neighbour(e)) * layout.dim;
        const int64_t* taken = choice + (n * targets + members.target(e)) * layout.fields;
        const Rotation<T> step = turn(layout, members.angle(e));
        Rotation<T> r{T(1), T(0)};
        for (int64_t m = 0; m < layout.orders; ++m, r = r * step) {
          const int64_t count = layout.count[m], at = layout.start[m];
          for (int64_t c = 0; c < count; ++c) {
            if (taken[layout.field_start[m] + c] != e) continue;
            if (m > 0)
              add_turned<T>(1, count, T(1), r, member + at + c, to + at + c);
            else
              to[at + c] += member[at + c];
          }
        }
      }
    }
  });
  return out;
}

// f(first value, stride, number of members) for every row, batch entry and head.
template <typename T, typename F>
void each_column(const Tensor& values, const Tensor& ptr, F f) {
  const int64_t batch = values.size(0), edges = values.size(1), heads = values.size(2), rows = ptr.size(0) - 1;
  const int64_t* bounds = ptr.const_data_ptr<int64_t>();
  const int64_t mean = edges / std::max<int64_t>(1, rows) + 1;
  torch::stable::parallel_for(0, batch * rows, grain(mean * heads), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = bounds[i % rows], count = bounds[i % rows + 1] - first;
      for (int64_t h = 0; h < heads; ++h) f((i / rows * edges + first) * heads + h, heads, count);
    }
  });
}

template <typename T>
Tensor softmax(const Tensor& logits, const Tensor& ptr) {
  Tensor out = torch::stable::new_zeros(logits, {logits.size(0), logits.size(1), logits.size(2)});
  const T* from = logits.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  each_column<T>(logits, ptr, [&](int64_t first, int64_t stride, int64_t count) {
    T highest = -std::numeric_limits<T>::infinity();
    for (int64_t k = 0; k < count; ++k) highest = std::max(highest, from[first + k * stride]);
    // A row of nothing but -inf has no member: all its weights are zero.
    const T shift = std::isinf(highest) && highest < 0 ? T(0) : highest;
    T total = 0;
    for (int64_t k = 0; k < count; ++k) total += to[first + k * stride] = std::exp(from[first + k * stride] - shift);
    const T factor = total == 0 ? T(0) : 1 / total;
    for (int64_t k = 0; k < count; ++k) to[first + k * stride] *= factor;
  });
  return out;
}

template <typename T>
Tensor total(const Tensor& values, const Tensor& ptr) {
  Tensor out = torch::stable::new_zeros(values, {values.size(0), values.size(1), values.size(2)});
  const T* from = values.const_data_ptr<T>();
  T* to = out.mutable_data_ptr<T>();
  each_column<T>(values, ptr, [&](int64_t first, int64_t stride, int64_t count) {
    T sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += from[first + k * stride];
    for (int64_t k = 0; k < count; ++k) to[first + k * stride] = sum;
  });
  return out;
}

}  // namespace

#define MESHCONV_DEVICE(name) name##_cpu
#include "../segment_entries.h"

}  // namespace meshconv
