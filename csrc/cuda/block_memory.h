// Shared memory of a block whose size the launch gives.
#pragma once

#include <stdint.h>

namespace meshconv {

template <typename T>
__device__ T* block_memory() {
  extern __shared__ int64_t block_words[];
  return reinterpret_cast<T*>(block_words);
}

}  // namespace meshconv
