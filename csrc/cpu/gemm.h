// A small dense product for operands that stay in cache, compiled once per instruction set (see all_kernels.h).
#pragma once

namespace meshconv::MESHCONV_ISA {

template <typename T>
struct Simd {
  typedef T type __attribute__((vector_size(MESHCONV_VECTOR_BYTES), aligned(alignof(T)), may_alias));
  static constexpr int lanes = MESHCONV_VECTOR_BYTES / sizeof(T);
};

// A number, or a whole vector of them, anywhere in memory.
template <typename P, typename T>
inline const P& load(const T* p) {
  return *reinterpret_cast<const P*>(p);
}
template <typename P, typename T>
inline P& place(T* p) {
  return *reinterpret_cast<P*>(p);
}

// Rows held in registers: with two vectors per row, 12 rows fill 24 of 32 registers, 6 rows 12 of 16.
constexpr int kMaxRows = MESHCONV_VECTOR_BYTES == 64 ? 12 : 6;

// C[i, :cols] (+)= sum_k A[i, k] B[k, :], for ROWS rows and up to VECTORS vectors of columns. Rows of B are read
// in whole vectors, so they have to be padded; C is written up to `cols` and not beyond.
template <typename T, int ROWS, int VECTORS>
inline void tile(int64_t depth, const T* __restrict a, int64_t a_row, int64_t a_col, const T* __restrict b,
                 int64_t b_row, T* __restrict c, int64_t c_row, int64_t cols, bool accumulate) {
  using V = typename Simd<T>::type;
  constexpr int L = Simd<T>::lanes;
  V sum[ROWS][VECTORS];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
    for (int j = 0; j < VECTORS; ++j) sum[i][j] = V{} ;
  for (int64_t k = 0; k < depth; ++k) {
    V row[VECTORS];
#pragma GCC unroll 2
    for (int j = 0; j < VECTORS; ++j) row[j] = *reinterpret_cast<const V*>(b + k * b_row + j * L);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const T x = a[i * a_row + k * a_col];
#pragma GCC unroll 2
      for (int j = 0; j < VECTORS; ++j) sum[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < ROWS; ++i) {
    T* out = c + i * c_row;
    for (int j = 0; j < VECTORS; ++j) {
      const int64_t left = cols - j * L;
      if (left >= L) {
        V* to = reinterpret_cast<V*>(out + j * L);
        *to = accumulate ? *to + sum[i][j] : sum[i][j];
      } else {
        for (int64_t l = 0; l < left; ++l)
          out[j * L + l] = accumulate ? out[j * L + l] + sum[i][j][l] : sum[i][j][l];
      }
    }
  }
}

template <typename T, int VECTORS, int ROWS = kMaxRows>
inline void tile_rows(int rows, int64_t depth, const T* a, int64_t a_row, int64_t a_col, const T* b, int64_t b_row,
                      T* c, int64_t c_row, int64_t cols, bool accumulate) {
  if constexpr (ROWS > 0) {
    if (rows == ROWS)
      tile<T, ROWS, VECTORS>(depth, a, a_row, a_col, b, b_row, c, c_row, cols, accumulate);
    else
      tile_rows<T, VECTORS, ROWS - 1>(rows, depth, a, a_row, a_col, b, b_row, c, c_row, cols, accumulate);
  }
}

// C[rows, cols] (+)= A[rows, depth] B[depth, cols]. A has any strides. B is either plain, with padded rows
// (panel_stride == 0), or packed into panels of two vectors of columns, panel_stride apart.
template <typename T>
inline void gemm(int64_t rows, int64_t cols, int64_t depth, const T* a, int64_t a_row, int64_t a_col, const T* b,
                 int64_t b_row, int64_t panel_stride, T* c, int64_t c_row, bool accumulate) {
  constexpr int L = Simd<T>::lanes;
  for (int64_t j = 0; j < cols; j += 2 * L) {
    const T* panel = panel_stride ? b + j / (2 * L) * panel_stride : b + j;
    const int64_t width = cols - j < 2 * L ? cols - j : 2 * L;
    for (int64_t i = 0; i < rows; i += kMaxRows) {
      const int height = static_cast<int>(rows - i < kMaxRows ? rows - i : kMaxRows);
      if (width > L)
        tile_rows<T, 2>(height, depth, a + i * a_row, a_row, a_col, panel, b_row, c + i * c_row + j, c_row, width,
                        accumulate);
      else
        tile_rows<T, 1>(height, depth, a + i * a_row, a_row, a_col, panel, b_row, c + i * c_row + j, c_row, width,
                        accumulate);
    }
  }
}

}  // namespace meshconv::MESHCONV_ISA
