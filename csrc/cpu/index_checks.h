// Indices of CPU tensors that kernels follow: none may lead outside.
#pragma once

#include "../checks.h"

namespace meshconv {

// Every index is at least `low` and below `high`.
inline void check_range(const char* op, const char* name, const Tensor& index, int64_t low, int64_t high) {
  const int64_t* i = index.const_data_ptr<int64_t>();
  const int64_t size = index.numel();
  // Without a branch the compiler vectorises it; which one it is matters only for the message.
  bool bad = false;
  for (int64_t k = 0; k < size; ++k) bad |= i[k] < low || i[k] >= high;
  for (int64_t k = 0; bad && k < size; ++k)
    STD_TORCH_CHECK(i[k] >= low && i[k] < high, op, ": ", name, "[", k, "] is ", i[k], ", expected ", low, " to ",
                    high - 1);
}

// Row pointers ascend from 0 to `size`.
inline void check_rows(const char* op, const char* name, const Tensor& ptr, int64_t size) {
  const int64_t* p = ptr.const_data_ptr<int64_t>();
  const int64_t rows = ptr.numel() - 1;
  bool fits = rows >= 0 && p[0] == 0 && p[rows] == size;
  for (int64_t r = 0; r < rows; ++r) fits &= p[r] <= p[r + 1];
  STD_TORCH_CHECK(fits, op, ": ", name, " does not ascend from 0 to ", size);
}

}  // namespace meshconv
