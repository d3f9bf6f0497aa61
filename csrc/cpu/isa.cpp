// Choice of the instruction set, once per process.
#include "isa.h"

#include <cstdlib>
#include <string>

namespace meshconv {
namespace {

Isa newest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
  return Isa::baseline;
}

// A word that is none of the three limits nothing: `meshconv info` shows what runs.
Isa limit() {
  const char* given = std::getenv("MESHCONV_INSTRUCTIONS");
  const std::string name = given ? given : "";
  return name == "baseline" ? Isa::baseline : name == "avx2" ? Isa::avx2 : Isa::avx512;
}

}  // namespace

Isa isa() {
  static const Isa chosen = limit() < newest() ? limit() : newest();
  return chosen;
}

const char* instruction_set() {
  return isa() == Isa::avx512 ? "avx512" : isa() == Isa::avx2 ? "avx2" : "baseline";
}

}  // namespace meshconv
