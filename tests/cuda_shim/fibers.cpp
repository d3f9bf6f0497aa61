// Fibers for the threads of a block, their barriers and shuffles, and the order in which they run.
#include "cuda_runtime.h"

#include <dlfcn.h>
#include <link.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>

#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#ifndef __x86_64__
#error "fibers switch stacks in x86-64 assembly"
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// Saves what a function must preserve, and goes on where the other stack stopped.
extern "C" void shim_switch(void** from, void* to);
asm(R"(
.text
.type shim_switch,@function
shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size shim_switch, .-shim_switch
)");

namespace meshconv {

constexpr size_t kMostBytes = 48 * 1024, kRedzone = 4096;
// What block_memory() refers to.
thread_local int64_t block_words[(kMostBytes + kRedzone) / sizeof(int64_t)];

}  // namespace meshconv

namespace shim {
namespace {

constexpr size_t kStack = 256 * 1024;
constexpr unsigned int kWarp = 32;

enum class State { ready, at_warp, at_block, done };

struct Fiber {
  State state = State::done;
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
  uint3 thread{};
  const char* file = nullptr;
  int line = 0;
  unsigned char sent[2][16];  // what other lanes read; two, for the next is written while some still read
  int parity = 0;
};

struct Aborted {};

struct Launches {
  int64_t calls = 0, blocks = 0, threads = 0, bytes = 0;
};

// All of it belongs to the one system thread that launches.
std::vector<std::unique_ptr<Fiber>> fibers;
Fiber* current = nullptr;
const std::function<void()>* body = nullptr;
void* scheduler_pointer = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_size = 0;
std::string error;
int order = 0;
std::map<const void*, Launches> launched;

void to_scheduler() {
  __sanitizer_start_switch_fiber(&current->fake_stack, scheduler_stack, scheduler_size);
  shim_switch(&current->stack_pointer, scheduler_pointer);
  __sanitizer_finish_switch_fiber(current->fake_stack, &scheduler_stack, &scheduler_size);
}

void fiber_main() {
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size);
  for (;;) {
    try {
      (*body)();
    } catch (const Aborted&) {
    }
    current->state = State::done;
    to_scheduler();
  }
}

std::unique_ptr<Fiber> new_fiber() {
  auto fiber = std::make_unique<Fiber>();
  void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) throw std::bad_alloc();
  fiber->stack = static_cast<char*>(stack);
  void** top = reinterpret_cast<void**>(fiber->stack + kStack) - 8;  // six registers, the entry, and nowhere to return
  top[6] = reinterpret_cast<void*>(&fiber_main);
  fiber->stack_pointer = top;
  return fiber;
}

void resume(Fiber& fiber) {
  current = &fiber;
  threadIdx = fiber.thread;
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, fiber.stack, kStack);
  shim_switch(&scheduler_pointer, fiber.stack_pointer);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

// 0 ascending, 1 descending, others shuffled by that seed.
std::vector<unsigned int> ordered(size_t count, std::mt19937& random) {
  std::vector<unsigned int> all(count);
  std::iota(all.begin(), all.end(), 0u);
  if (order == 1) std::reverse(all.begin(), all.end());
  if (order > 1) std::shuffle(all.begin(), all.end(), random);
  return all;
}

// Shared memory of this library: its thread-local segment.
int find_shared(dl_phdr_info* info, size_t, void* found) {
  const char* inside = reinterpret_cast<const char*>(meshconv::block_words);
  for (int i = 0; i < info->dlpi_phnum; ++i)
    if (info->dlpi_phdr[i].p_type == PT_TLS && info->dlpi_tls_data != nullptr) {
      char* begin = static_cast<char*>(info->dlpi_tls_data);
      if (inside >= begin && inside < begin + info->dlpi_phdr[i].p_memsz) {
        *static_cast<std::pair<char*, size_t>*>(found) = {begin, info->dlpi_phdr[i].p_memsz};
        return 1;
      }
    }
  return 0;
}

// NaN in one order, and other bits in the others, where a kernel reads what it has not written.
void fill_shared(size_t bytes) {
  static const std::pair<char*, size_t> shared = [] {
    std::pair<char*, size_t> found{};
    dl_iterate_phdr(find_shared, &found);
    return found;
  }();
  __asan_unpoison_memory_region(shared.first, shared.second);
  memset(shared.first, order == 0 ? 0xff : 0x31 + 16 * (order % 8), shared.second);
  char* words = reinterpret_cast<char*>(meshconv::block_words);
  __asan_poison_memory_region(words + bytes, sizeof(meshconv::block_words) - bytes);
}

std::string place(const char* file, int line) {
  const std::string path = file;
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(line);
}

std::string where() {
  auto show = [](const auto& i) {
    return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
  };
  return "block " + show(blockIdx) + ", thread " + show(threadIdx);
}

// Lets the fibers [first, last) go on if all of them wait at one line.
bool release(size_t first, size_t last, State waiting) {
  for (size_t i = first; i < last; ++i) {
    const Fiber &f = *fibers[i], &g = *fibers[first];
    if (f.state != waiting || f.line != g.line || f.file != g.file) return false;
  }
  for (size_t i = first; i < last; ++i) fibers[i]->state = State::ready;
  return true;
}

void run_block(size_t threads, std::mt19937& random) {
  for (size_t i = 0; i < threads; ++i) fibers[i]->state = State::ready;
  for (;;) {
    for (unsigned int i : ordered(threads, random))
      if (fibers[i]->state == State::ready) resume(*fibers[i]);
    bool going_on = release(0, threads, State::at_block);
    for (size_t first = 0; first < threads; first += kWarp)
      going_on |= release(first, std::min<size_t>(first + kWarp, threads), State::at_warp);
    if (going_on && error.empty()) continue;
    size_t waiting = 0, stuck = 0;
    for (size_t i = 0; i < threads; ++i)
      if (fibers[i]->state != State::done) {
        ++waiting;
        stuck = i;
      }
    if (waiting == 0) return;
    if (error.empty()) {
      const Fiber& f = *fibers[stuck];
      threadIdx = f.thread;
      error = "divergent barrier: " + std::to_string(waiting) + " of " + std::to_string(threads) +
              " threads wait, one of them at " + place(f.file, f.line) + " for the rest of its " +
              (f.state == State::at_warp ? "warp" : "block") + "; " + where();
    }
    for (size_t i = 0; i < threads; ++i)  // meet() throws in those that wait
      if (fibers[i]->state != State::done) resume(*fibers[i]);
  }
}

}  // namespace

void meet(Group group, const char* file, int line) {
  current->state = group == Group::warp ? State::at_warp : State::at_block;
  current->file = file;
  current->line = line;
  to_scheduler();
  if (!error.empty()) throw Aborted{};
}

void from_lane(void* value, size_t bytes, unsigned int mask, unsigned int down, const char* file, int line) {
  if (mask != 0xffffffffu || bytes > sizeof(Fiber::sent[0]))
    fail("a shuffle of whole warps, of at most 16 bytes", file, line);
  const int parity = current->parity ^= 1;
  memcpy(current->sent[parity], value, bytes);
  meet(Group::warp, file, line);
  const unsigned int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  if (thread % kWarp + down < kWarp && thread + down < blockDim.x * blockDim.y * blockDim.z)
    memcpy(value, fibers[thread + down]->sent[parity], bytes);
}

void fail(const char* condition, const char* file, int line) {
  if (current == nullptr || body == nullptr) throw std::runtime_error(condition);
  if (error.empty()) error = std::string("assertion ") + condition + " at " + place(file, line) + " fails; " + where();
  throw Aborted{};
}

cudaError_t run(const cudaLaunchConfig_t& config, const void* kernel, const std::function<void()>& thread) {
  const dim3 grid = config.gridDim, block = config.blockDim;
  const size_t threads = size_t{block.x} * block.y * block.z, blocks = size_t{grid.x} * grid.y * grid.z;
  error.clear();
  if (blocks == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || threads == 0 || threads > 1024 ||
      block.z > 64 || config.dynamicSmemBytes > meshconv::kMostBytes) {
    error = "invalid configuration";
    return cudaErrorInvalidConfiguration;
  }
  Launches& count = launched[kernel];
  ++count.calls;
  count.blocks = std::max<int64_t>(count.blocks, blocks);
  count.threads = threads;
  count.bytes = std::max<int64_t>(count.bytes, config.dynamicSmemBytes);
  while (fibers.size() < threads) fibers.push_back(new_fiber());
  for (size_t i = 0; i < threads; ++i) {
    const unsigned int t = static_cast<unsigned int>(i);
    fibers[i]->thread = {t % block.x, t / block.x % block.y, t / block.x / block.y};
  }
  gridDim = grid;
  blockDim = block;
  body = &thread;
  std::mt19937 random(static_cast<unsigned int>(order));
  for (unsigned int b : ordered(blocks, random)) {
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    fill_shared(config.dynamicSmemBytes);
    run_block(threads, random);
    if (!error.empty()) break;
  }
  body = nullptr;
  return error.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

}  // namespace shim

cudaError_t cudaSetDevice(int) { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return shim::error.c_str(); }

extern "C" {

// What tests ask for by ctypes.
void shim_order(int order) { shim::order = order; }

// Of the index-th kernel that has run: where it lies in the library, as nm shows it; calls, most blocks, threads of a
// block, most bytes of block_memory. False where there is none.
bool shim_launched(int64_t index, int64_t* numbers) {
  if (index >= static_cast<int64_t>(shim::launched.size())) return false;
  const auto& [address, count] = *std::next(shim::launched.begin(), index);
  Dl_info library;
  dladdr(address, &library);
  numbers[0] = static_cast<const char*>(address) - static_cast<const char*>(library.dli_fbase);
  numbers[1] = count.calls;
  numbers[2] = count.blocks;
  numbers[3] = count.threads;
  numbers[4] = count.bytes;
  return true;
}

// What launch.h asks of torch on a device. Hidden: in this library, and nowhere else, they take the place of the true
// ones.
#define HIDDEN(name) asm(#name) __attribute__((visibility("hidden")))

int32_t stream_of(int32_t, void** stream) {
  *stream = nullptr;
  return 0;
}
int32_t new_guard(int32_t, void** guard) HIDDEN(aoti_torch_create_device_guard);
int32_t delete_guard(void*) HIDDEN(aoti_torch_delete_device_guard);
void* symbol(void*, const char*) HIDDEN(dlsym);

int32_t new_guard(int32_t, void** guard) {
  *guard = nullptr;
  return 0;
}
int32_t delete_guard(void*) { return 0; }
void* symbol(void*, const char*) { return reinterpret_cast<void*>(&stream_of); }

}
