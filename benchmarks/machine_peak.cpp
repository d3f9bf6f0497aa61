// Limits of this machine on N threads: float32 multiply-adds, and the bandwidth of memory by the triad a = b + s c over
// arrays much larger than the caches. Each thread counts its own processor time, so that others on the machine change
// the rates least; the rate of N threads is the sum of theirs, the best of several repeats.
// Prints GFLOP/s (a multiply-add is two operations) and GB/s (two arrays read, one written).

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#ifdef __AVX512F__
constexpr int kBytes = 64;
#else
constexpr int kBytes = 32;
#endif
typedef float Lanes __attribute__((vector_size(kBytes)));

constexpr int kChains = 16;  // more than latency times units, so that none waits for another
constexpr long kRounds = 4'000'000;
constexpr long kFloats = 32l << 20;  // 128 MB for each of three arrays
constexpr int kRepeats = 5;

double Now() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

double MultiplyAdds() {
  Lanes sum[kChains], factor = Lanes{} + 0.999999f, term = Lanes{} + 1e-6f;
  for (int k = 0; k < kChains; ++k) sum[k] = Lanes{} + static_cast<float>(k);
  const double start = Now();
  for (long i = 0; i < kRounds; ++i) {
#pragma GCC unroll 16
    for (int k = 0; k < kChains; ++k) sum[k] = sum[k] * factor + term;
  }
  for (int k = 0; k < kChains; ++k) asm volatile("" : : "x"(sum[k]));  // the sums are needed
  return 2.0 * kRounds * kChains * (kBytes / sizeof(float)) / (Now() - start);
}

double Triad(float* a, const float* b, const float* c, long count) {
  const double start = Now();
  for (long i = 0; i < count; ++i) a[i] = b[i] + 3.0f * c[i];
  asm volatile("" : : "r"(a) : "memory");
  return 3.0 * sizeof(float) * count / (Now() - start);
}

// The best sum over threads of what each measures in its part.
template <class Measure>
double Best(int threads, Measure measure) {
  double best = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    std::vector<double> rates(threads);
    std::vector<std::thread> running;
    for (int t = 0; t < threads; ++t) running.emplace_back([&, t] { rates[t] = measure(t); });
    for (std::thread& one : running) one.join();
    double sum = 0;
    for (double rate : rates) sum += rate;
    best = std::max(best, sum);
  }
  return best;
}

int main(int count, char** words) {
  const int threads = count > 1 ? std::atoi(words[1]) : 1;
  std::vector<float> a(kFloats, 1), b(kFloats, 2), c(kFloats, 3);
  const long part = kFloats / threads;
  const double adds = Best(threads, [](int) { return MultiplyAdds(); });
  const double bytes = Best(threads, [&](int t) { return Triad(&a[t * part], &b[t * part], &c[t * part], part); });
  std::printf("%.2f %.2f\n", adds / 1e9, bytes / 1e9);
}
