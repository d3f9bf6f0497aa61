// Edges in compressed rows of whoever collects: targets from their sources or, for the adjoint, sources from their
// targets. A plain value, shared by host and device: it travels to kernels as it is.
#pragma once

#include <stdint.h>

#include "so2.h"

#if defined(MESHCONV_DEVICE_ASSERT)
// Whoever compiles has its own.
#elif defined(__CUDA_ARCH__)
#include <assert.h>
// A device cannot throw, and to look at the indices beforehand would wait for it: like torch's own indexing, a kernel
// stops at a wrong index. The host looks at all of them before it starts (check_edge_values).
#define MESHCONV_DEVICE_ASSERT(condition) assert(condition)
#else
#define MESHCONV_DEVICE_ASSERT(condition) static_cast<void>(0)
#endif

namespace meshconv {

struct Rows {
  const int64_t *ptr, *src, *dst, *src_edge;
  int64_t rows, from, edges;  // how many collect, how many are collected, along how many edges
  bool transpose;

  MESHCONV_HD int64_t begin(int64_t row) const { return bound(ptr[row]); }
  MESHCONV_HD int64_t end(int64_t row) const { return bound(ptr[row + 1]); }
  MESHCONV_HD int64_t edge(int64_t slot) const {
    const int64_t e = transpose ? src_edge[slot] : slot;
    MESHCONV_DEVICE_ASSERT(e >= 0 && e < edges);
    return e;
  }
  MESHCONV_HD int64_t neighbour(int64_t e) const {
    const int64_t v = transpose ? dst[e] : src[e];
    MESHCONV_DEVICE_ASSERT(v >= 0 && v < from);
    return v;
  }
  MESHCONV_HD int64_t target(int64_t e) const {
    const int64_t v = dst[e];
    MESHCONV_DEVICE_ASSERT(v >= 0 && v < (transpose ? from : rows));
    return v;
  }

 private:
  MESHCONV_HD int64_t bound(int64_t slot) const {
    MESHCONV_DEVICE_ASSERT(slot >= 0 && slot <= edges);
    return slot;
  }
};

// What a convolution knows of its edges besides.
template <typename T>
struct ConvRows : Rows {
  const T *radial, *angle, *transporter;
};

// What transport and reduction know of them.
template <typename T>
struct TransportRows : Rows {
  const T* transporter;
  MESHCONV_HD T angle(int64_t e) const { return transpose ? -transporter[e] : transporter[e]; }
};

// Throws unless row pointers ascend over all edges, every edge stands in its own row, and no index is out of range:
// what is behind the rows of a tensor on the host cannot be read whatever the indices are.
void check_edge_values(const char* op, const Rows& rows);

// The same of row pointers alone, [rows + 1], over `members`.
void check_row_pointers(const char* op, const char* name, const int64_t* ptr, int64_t rows, int64_t members);

}  // namespace meshconv
