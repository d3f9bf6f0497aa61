// The instruction sets that CPU kernels are compiled for, and the one that this processor gets.
#pragma once

namespace meshconv {

enum class Isa { baseline, avx2, avx512 };

Isa isa();
const char* instruction_set();

}  // namespace meshconv
