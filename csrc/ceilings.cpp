#include "ceilings.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include "cpu_features.h"

#if GRADUS_HAVE_avx2
#include <immintrin.h>
#endif

namespace gradus {

namespace {

constexpr int64_t num_rounds = 1 << 22;  // of every thread and pass: some ten milliseconds

struct Loop {
  void (*run)(int64_t rounds);
  int64_t per_round;  // multiply-adds
};

#if GRADUS_HAVE_avx2
// As many sums as hide an instruction's latency. `opaque` keeps the compiler from taking a product whose
// operands do not change out of the loop; it is no instruction.
constexpr int num_sums = 12;
#define GRADUS_OPAQUE(x) __asm__ volatile("" : "+x"(x))

__attribute__((target("avx2,fma"))) void f32_avx2(int64_t rounds) {
  __m256 sums[num_sums] = {};
  __m256 x = _mm256_set1_ps(0.5f);
  const __m256 w = _mm256_set1_ps(0.25f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      sum = _mm256_fmadd_ps(x, w, sum);
      GRADUS_OPAQUE(x);
    }
  }
  for (auto& sum : sums) GRADUS_OPAQUE(sum);
}

// vpmaddubsw and its addition in 16 bits.
__attribute__((target("avx2"))) void int4_avx2(int64_t rounds) {
  __m256i sums[num_sums] = {};
  __m256i x = _mm256_set1_epi8(3);
  const __m256i w = _mm256_set1_epi8(5);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
      GRADUS_OPAQUE(x);
      GRADUS_OPAQUE(sum);
    }
  }
}

// The signs moved to the activations, vpmaddubsw, vpmaddwd by ones and an addition in 32 bits.
__attribute__((target("avx2"))) void int8_avx2(int64_t rounds) {
  __m256i sums[num_sums] = {};
  __m256i x = _mm256_set1_epi8(3);
  const __m256i w = _mm256_set1_epi8(5);
  const __m256i ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      const __m256i pairs = _mm256_maddubs_epi16(w, _mm256_sign_epi8(x, w));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
      GRADUS_OPAQUE(x);
      GRADUS_OPAQUE(sum);
    }
  }
}

__attribute__((target("avx512f"))) void f32_avx512(int64_t rounds) {
  __m512 sums[num_sums] = {};
  __m512 x = _mm512_set1_ps(0.5f);
  const __m512 w = _mm512_set1_ps(0.25f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      sum = _mm512_fmadd_ps(x, w, sum);
      __asm__ volatile("" : "+v"(x));
    }
  }
  for (auto& sum : sums) __asm__ volatile("" : "+v"(sum));
}

__attribute__((target("avx512f,avx512bf16"))) void bf16_avx512(int64_t rounds) {
  __m512 sums[num_sums] = {};
  __m512i x = _mm512_set1_epi32(0x3f003f00);
  const auto w = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3e803e80));
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, w, reinterpret_cast<__m512bh>(x));
      __asm__ volatile("" : "+v"(x));
    }
  }
  for (auto& sum : sums) __asm__ volatile("" : "+v"(sum));
}

// vpdpbusd, for either width.
__attribute__((target("avx512f,avx512vnni"))) void integers_avx512(int64_t rounds) {
  __m512i sums[num_sums] = {};
  __m512i x = _mm512_set1_epi8(3);
  const __m512i w = _mm512_set1_epi8(5);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 16
    for (auto& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, w, x);
      __asm__ volatile("" : "+v"(x), "+v"(sum));
    }
  }
}
#undef GRADUS_OPAQUE
#endif

Loop loop_of([[maybe_unused]] const std::string& variant, [[maybe_unused]] MultiplyAdd kind) {
#if GRADUS_HAVE_avx2
  const bool is_f32 = kind == MultiplyAdd::f32;
  if (kind == MultiplyAdd::bf16) {
    if (!has_bf16_attention(select_kernels(variant))) return {nullptr, 0};
    return {bf16_avx512, num_sums * 32};
  }
  if (variant == "avx512") return {is_f32 ? f32_avx512 : integers_avx512, num_sums * (is_f32 ? 16 : 64)};
  if (variant == "avx2") {
    if (is_f32) return {f32_avx2, num_sums * 8};
    return {kind == MultiplyAdd::int4 ? int4_avx2 : int8_avx2, num_sums * 32};
  }
#endif
  return {nullptr, 0};
}

// Seconds of each pass, which all threads begin together. They live through all passes, so that the system
// has given each a core of its own; the first pass, in which it does so, is left out.
std::vector<double> time_passes(const Loop& loop, int num_threads, int num_passes) {
  std::atomic<int> num_arrived{0};
  const auto arrive_and_wait = [&](int pass) {
    num_arrived.fetch_add(1);
    while (num_arrived.load() < num_threads * (pass + 1)) {
    }
  };
  std::vector<std::thread> others;
  for (int i = 1; i < num_threads; ++i) {
    others.emplace_back([&] {
      for (int pass = 0; pass <= num_passes; ++pass) {
        loop.run(num_rounds);
        arrive_and_wait(pass);
      }
    });
  }
  std::vector<double> seconds;
  for (int pass = 0; pass <= num_passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    loop.run(num_rounds);
    arrive_and_wait(pass);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (pass > 0) seconds.push_back(taken.count());
  }
  for (auto& other : others) other.join();
  return seconds;
}

}  // namespace

std::vector<double> time_multiply_adds(const std::string& variant, MultiplyAdd kind, int num_threads,
                                       int num_passes) {
  const Loop loop = loop_of(variant, kind);
  std::vector<double> rates;
  if (!loop.run) return rates;
  const double work = static_cast<double>(num_rounds) * static_cast<double>(loop.per_round) * num_threads;
  for (const double seconds : time_passes(loop, num_threads, num_passes)) rates.push_back(work / seconds);
  return rates;
}

}  // namespace gradus
