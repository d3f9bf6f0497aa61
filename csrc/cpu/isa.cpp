// Choice of the instruction set, once per process.
#include "isa.h"

namespace meshconv {

Isa isa() {
#if defined(__x86_64__)
  static const Isa found = [] {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
      return Isa::avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
    return Isa::baseline;
  }();
  return found;
#else
  return Isa::baseline;
#endif
}

const char* instruction_set() {
  return isa() == Isa::avx512 ? "avx512" : isa() == Isa::avx2 ? "avx2" : "baseline";
}

}  // namespace meshconv
