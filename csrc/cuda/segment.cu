// CUDA operators that transport the members of a row into its frame and reduce them. Every output element has one
// owner, and where several threads share a long row they split it and add up in a fixed order: no atomics, the same
// bits every run. Neighbouring threads hold neighbouring channels.
#include "../segment.h"
#include "launch.h"

#include "../operators.h"

namespace meshconv {
namespace {

constexpr int kWidth = 32;  // channels side by side
constexpr int kLanes = 8;   // rows side by side, or threads on one long row
constexpr int kThreads = 256;

// One field of one row: order m, its channel, and where its first component stands.
struct Field {
  int64_t order, channel, at, half;
};

MESHCONV_HD Field field(const FieldLayout& layout, int64_t f) {
  int64_t m = 0;
  while (f >= layout.field_start[m] + layout.count[m]) ++m;
  const int64_t channel = f - layout.field_start[m];
  return {m, channel, layout.start[m] + channel, layout.count[m]};
}

// Weights by head, or the choice of one member per field. `own` is what one field of one batch entry reads of it, found
// once a row, for divisions are slow; then each member gets its weight, or false if it does not count.
template <typename T>
struct ByHead {
  const T* weight;
  int64_t batch_stride, heads;
  __device__ const T* own(const FieldLayout& layout, int64_t n, const Field& f) const {
    return weight + n * batch_stride + f.channel / (layout.count[f.order] / heads);
  }
  __device__ bool operator()(const T* of_head, const TransportRows<T>&, int64_t e, T& w) const {
    w = of_head[e * heads];
    return true;
  }
};

template <typename T>
struct Chosen {
  const int64_t* chosen;
  int64_t targets, fields;
  __device__ const int64_t* own(const FieldLayout& layout, int64_t n, const Field& f) const {
    return chosen + n * targets * fields + layout.field_start[f.order] + f.channel;
  }
  __device__ bool operator()(const int64_t* of_field, const TransportRows<T>& members, int64_t e, T& w) const {
    w = T(1);
    return of_field[members.target(e) * fields] == e;
  }
};

// `lanes` threads share a row (1 or kLanes); each block has kWidth x kLanes threads.
template <typename T, typename Factor>
__global__ void collect_kernel(FieldLayout layout, TransportRows<T> members, Factor factor, const T* x, int64_t total,
                               int lanes, T* y) {
  __shared__ T partial[2][kLanes][kWidth];
  const int64_t slices = (layout.fields + kWidth - 1) / kWidth, units = total * slices;
  const int lane = lanes > 1 ? threadIdx.y : 0;
  const int64_t step = lanes > 1 ? 1 : kLanes;
  // All threads of a block take the same number of turns, for they meet at the barrier.
  for (int64_t base = blockIdx.x * step; base < units; base += gridDim.x * step) {
    const int64_t unit = base + (lanes > 1 ? 0 : threadIdx.y);
    const int64_t i = unit / slices, f = unit % slices * kWidth + threadIdx.x;
    const bool active = unit < units && f < layout.fields;
    T re = 0, im = 0;
    Field own{};
    if (active) {
      own = field(layout, f);
      const int64_t n = i / members.rows, row = i % members.rows;
      const int64_t end = members.end(row);
      const T order = static_cast<T>(own.order);
      const T* features = x + n * members.from * layout.dim + own.at;
      const auto choice = factor.own(layout, n, own);
      for (int64_t slot = members.begin(row) + lane; slot < end; slot += lanes) {
        const int64_t e = members.edge(slot);
        T w;
        if (!factor(choice, members, e, w)) continue;
        const T* member = features + members.neighbour(e) * layout.dim;
        if (own.order == 0) {
          re += w * member[0];
          continue;
        }
        const Rotation<T> r = rotation(order * members.angle(e));
        re += w * (r.c * member[0] - r.s * member[own.half]);
        im += w * (r.s * member[0] + r.c * member[own.half]);
      }
    }
    if (lanes > 1) {
      partial[0][lane][threadIdx.x] = re;
      partial[1][lane][threadIdx.x] = im;
      __syncthreads();
      if (lane == 0)
        for (int l = 1; l < kLanes; ++l) {
          re += partial[0][l][threadIdx.x];
          im += partial[1][l][threadIdx.x];
        }
    }
    if (active && lane == 0) {
      T* to = y + i * layout.dim + own.at;
      to[0] = re;
      if (own.order > 0) to[own.half] = im;
    }
    if (lanes > 1) __syncthreads();  // before the next row overwrites the parts
  }
}

template <typename T, typename Factor>
Tensor collect(const char* op, const SegmentArguments& a, const Factor& factor) {
  const OnDevice device(a.x, op);
  const int64_t rows = a.edges.rows(), total = a.batch() * rows;
  Tensor out = torch::stable::new_empty(a.x, {a.batch(), rows, a.layout.dim});
  const int64_t units = total * ((a.layout.fields + kWidth - 1) / kWidth);
  if (units == 0) return out;
  const int lanes = a.edges.count() / rows >= 64 ? kLanes : 1;
  device.launch(collect_kernel<T, Factor>, blocks_for(units, lanes > 1 ? 1 : kLanes), dim3(kWidth, kLanes), 0, a.layout,
                a.members<T>(), factor, a.x.const_data_ptr<T>(), total, lanes, out.mutable_data_ptr<T>());
  return out;
}

template <typename T>
Tensor sum(const SegmentArguments& a, const Tensor& weight) {
  const int64_t heads = weight.size(2), stride = weight.size(0) == 1 ? 0 : a.edges.count() * heads;
  return collect<T>("transport_sum", a, ByHead<T>{weight.const_data_ptr<T>(), stride, heads});
}

template <typename T>
Tensor select(const SegmentArguments& a, const Tensor& chosen) {
  const Chosen<T> factor{chosen.const_data_ptr<int64_t>(), a.edges.targets(), a.layout.fields};
  return collect<T>("transport_select", a, factor);
}

// `lanes` threads of a warp, a power of two, share the channels of one member, batch entry and head.
template <typename T>
__global__ void dot_kernel(FieldLayout layout, TransportRows<T> members, const T* x, const T* y, int64_t total,
                           int64_t heads, int lanes, T* out) {
  const int lane = threadIdx.x % lanes;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x / lanes;
  // All threads of a warp take the same number of turns, for they meet at the shuffles.
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * blockDim.x / lanes; base < total; base += step) {
    const int64_t i = base + threadIdx.x / lanes;
    T sum = 0;
    if (i < total) {
      const int64_t h = i % heads, member = i / heads, n = member / members.edges, e = member % members.edges;
      const T* u = x + (n * members.from + members.neighbour(e)) * layout.dim;
      const T* v = y + (n * members.rows + members.target(e)) * layout.dim;
      const T angle = members.transporter[e];
      for (int64_t m = 0; m < layout.orders; ++m) {
        const int64_t count = layout.count[m], some = count / heads, at = layout.start[m] + h * some;
        if (lane >= some) continue;
        const Rotation<T> r = rotation(static_cast<T>(m) * angle);
        for (int64_t c = at + lane; c < at + some; c += lanes) {
          if (m == 0)
            sum += u[c] * v[c];
          else
            sum += r.c * (u[c] * v[c] + u[c + count] * v[c + count]) +
                   r.s * (u[c] * v[c + count] - u[c + count] * v[c]);
        }
      }
    }
    for (int offset = lanes / 2; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
    if (i < total && lane == 0) out[i] = sum;
  }
}

template <typename T>
Tensor member_dot(const SegmentArguments& a, const Tensor& target, int64_t heads) {
  const OnDevice device(a.x, "transport_dot");
  Tensor out = torch::stable::new_empty(a.x, {a.batch(), a.edges.count(), heads});
  const int64_t total = a.batch() * a.edges.count() * heads;
  if (total == 0) return out;
  int64_t widest = 0;
  for (int64_t m = 0; m < a.layout.orders; ++m) widest = std::max(widest, a.layout.count[m] / heads);
  int lanes = 1;
  while (lanes < kWidth && lanes < widest) lanes *= 2;
  device.launch(dot_kernel<T>, blocks_for(total * lanes, kThreads), kThreads, 0, a.layout, a.members<T>(),
                a.x.const_data_ptr<T>(), target.const_data_ptr<T>(), total, heads, lanes, out.mutable_data_ptr<T>());
  return out;
}

// One thread a row and field, neighbouring fields side by side.
template <typename T>
__global__ void argmax_kernel(FieldLayout layout, TransportRows<T> members, const T* x, int64_t total,
                              bool signed_scalars, int64_t* chosen) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total * layout.fields;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t n = i / layout.fields / members.rows, row = i / layout.fields % members.rows;
    const Field own = field(layout, i % layout.fields);
    int64_t taken = -1;
    double best = 0;  // squares of float32 do not overflow in it
    for (int64_t slot = members.begin(row); slot < members.end(row); ++slot) {
      const T* member = x + (n * members.from + members.neighbour(slot)) * layout.dim + own.at;
      const double re = member[0], im = own.order > 0 ? static_cast<double>(member[own.half]) : 0.0;
      const double norm = own.order > 0 ? re * re + im * im : signed_scalars ? re : fabs(re);
      if (takes(taken < 0, norm, best)) {
        best = norm;
        taken = slot;
      }
    }
    chosen[i] = taken;
  }
}

template <typename T>
Tensor argmax(const SegmentArguments& a, bool signed_scalars) {
  const OnDevice device(a.x, "transport_argmax");
  const int64_t rows = a.edges.rows(), total = a.batch() * rows, threads = total * a.layout.fields;
  Tensor out = torch::stable::new_empty(a.x, {a.batch(), rows, a.layout.fields}, torch::headeronly::ScalarType::Long);
  if (threads == 0) return out;
  device.launch(argmax_kernel<T>, blocks_for(threads, kThreads), kThreads, 0, a.layout, a.members<T>(),
                a.x.const_data_ptr<T>(), total, signed_scalars, out.mutable_data_ptr<int64_t>());
  return out;
}

// One thread a row, batch entry and head.
template <typename T, bool normalise>
__global__ void column_kernel(const T* from, const int64_t* ptr, int64_t batch, int64_t rows, int64_t edges,
                              int64_t heads, T* to) {
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < batch * rows * heads;
       i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const int64_t h = i % heads, row = i / heads % rows, n = i / heads / rows;
    MESHCONV_DEVICE_ASSERT(ptr[row] >= 0 && ptr[row + 1] <= edges);
    const int64_t begin = (n * edges + ptr[row]) * heads + h, end = (n * edges + ptr[row + 1]) * heads + h;
    T total = 0;
    if (!normalise) {
      for (int64_t k = begin; k < end; k += heads) total += from[k];
      for (int64_t k = begin; k < end; k += heads) to[k] = total;
      continue;
    }
    T highest = -T(INFINITY);
    for (int64_t k = begin; k < end; k += heads) highest = from[k] > highest ? from[k] : highest;
    // A row of nothing but -inf has no member: all its weights are zero.
    const T shift = highest == -T(INFINITY) ? T(0) : highest;
    for (int64_t k = begin; k < end; k += heads) total += to[k] = exp(from[k] - shift);
    const T factor = total == T(0) ? T(0) : T(1) / total;
    for (int64_t k = begin; k < end; k += heads) to[k] *= factor;
  }
}

template <typename T, bool normalise>
Tensor columns(const char* op, const Tensor& values, const Tensor& ptr) {
  const OnDevice device(values, op);
  const int64_t batch = values.size(0), edges = values.size(1), heads = values.size(2), rows = ptr.size(0) - 1;
  Tensor out = torch::stable::new_zeros(values, {batch, edges, heads});
  const int64_t threads = batch * rows * heads;
  if (threads == 0) return out;
  device.launch(column_kernel<T, normalise>, blocks_for(threads, kThreads), kThreads, 0, values.const_data_ptr<T>(),
                ptr.const_data_ptr<int64_t>(), batch, rows, edges, heads, out.mutable_data_ptr<T>());
  return out;
}

template <typename T>
Tensor softmax(const Tensor& logits, const Tensor& ptr) {
  return columns<T, true>("segment_softmax", logits, ptr);
}

template <typename T>
Tensor total(const Tensor& values, const Tensor& ptr) {
  return columns<T, false>("segment_total", values, ptr);
}

}  // namespace

#define MESHCONV_DEVICE(name) name##_cuda
#include "../segment_entries.h"

}  // namespace meshconv
