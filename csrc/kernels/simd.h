// `f32x16`: sixteen floats, the unit in which every kernel is written. One implementation per CPU variant.
//
// Kernel translation units include this and nothing that defines inline functions with external linkage (no
// standard library templates either): code compiled for a newer instruction set must never be the copy of a
// function that the linker keeps for everybody.
#pragma once

#include "kernels/kernels.h"

#if GRADUS_VARIANT_avx512
#include "kernels/simd_avx512.h"
#elif GRADUS_VARIANT_avx2
#include "kernels/simd_avx2.h"
#else
#include "kernels/simd_portable.h"
#endif

namespace gradus::GRADUS_VARIANT {
namespace {

using index_t = int64_t;

inline index_t min_of(index_t a, index_t b) { return a < b ? a : b; }

inline f32x16 operator+(f32x16 a, f32x16 b) { return add(a, b); }
inline f32x16 operator-(f32x16 a, f32x16 b) { return sub(a, b); }
inline f32x16 operator*(f32x16 a, f32x16 b) { return mul(a, b); }
inline f32x16 operator/(f32x16 a, f32x16 b) { return div(a, b); }

// Fetches floats into L2. Rows wait for memory, because the hardware's prefetcher starts anew with each:
// while a kernel treats one it asks for the same place of the next.
inline void prefetch(const float* p, index_t count) {
  for (index_t i = 0; i < count; i += 16) __builtin_prefetch(p + i, 0, 2);
}

// The first `count` floats at p, zeros after them.
inline f32x16 load_first(const float* p, index_t count) {
  if (count >= 16) return load(p);
  float lanes[16] = {};
  for (index_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load(lanes);
}

inline void store_first(float* p, f32x16 x, index_t count) {
  if (count >= 16) return store(p, x);
  float lanes[16];
  store(lanes, x);
  for (index_t i = 0; i < count; ++i) p[i] = lanes[i];
}

// Lanes from `count` on replaced by `fill`.
inline f32x16 keep_first(f32x16 x, index_t count, float fill) {
  if (count >= 16) return x;
  float lanes[16];
  store(lanes, x);
  for (index_t i = count < 0 ? 0 : count; i < 16; ++i) lanes[i] = fill;
  return load(lanes);
}

// Lanes before `first` and from `end` on replaced by `fill`.
inline f32x16 keep_between(f32x16 x, index_t first, index_t end, float fill) {
  if (first <= 0) return keep_first(x, end, fill);
  float lanes[16];
  store(lanes, x);
  for (index_t i = 0; i < 16; ++i) lanes[i] = i >= first && i < end ? lanes[i] : fill;
  return load(lanes);
}

// Storage formats: how sixteen stored elements become floats.
struct StoredF32 {
  using type = float;
  static f32x16 load16(const float* p) { return load(p); }
  static float load1(const float* p) { return *p; }
};
struct StoredBF16 {
  using type = uint16_t;
  static f32x16 load16(const uint16_t* p) { return load_bf16(p); }
};
struct StoredF16 {
  using type = uint16_t;
  static f32x16 load16(const uint16_t* p) { return load_f16(p); }
};

// exp(r) - 1 for x = n ln 2 + r with |r| <= ln 2 / 2, and n: the Taylor polynomial of degree 7 (truncation
// below 1e-8, against 6e-8 of an ulp of 1).
inline f32x16 reduced_exp_minus_one(f32x16 x, f32x16* n_out) {
  const f32x16 n = round_nearest(x * broadcast(1.44269504088896341f));
  f32x16 r = negative_fma(n, broadcast(0.693359375f), x);
  r = negative_fma(n, broadcast(-2.12194440054690583e-4f), r);
  f32x16 p = broadcast(1.98412698412698413e-4f);
  p = fma(p, r, broadcast(1.38888888888888889e-3f));
  p = fma(p, r, broadcast(8.33333333333333333e-3f));
  p = fma(p, r, broadcast(4.16666666666666667e-2f));
  p = fma(p, r, broadcast(1.66666666666666667e-1f));
  p = fma(p, r, broadcast(0.5f));
  *n_out = n;
  return fma(p, r * r, r);
}

// exp(x) to about 1 ulp over the whole range: 0 below -104, inf above 88.73, NaN kept.
inline f32x16 exp(f32x16 x) {
  x = min(broadcast(100.0f), max(broadcast(-120.0f), x));
  f32x16 n;
  const f32x16 p = reduced_exp_minus_one(x, &n) + broadcast(1.0f);
  return times_power_of_two(p, n);
}

// tanh(x) = e / (e + 2) with e = exp(2x) - 1, to a few ulp also near 0; it is 1 in f32 from 10 on. NaN kept.
inline f32x16 tanh(f32x16 x) {
  x = min(broadcast(10.0f), max(broadcast(-10.0f), x));
  f32x16 n;
  const f32x16 p = reduced_exp_minus_one(x + x, &n);
  const f32x16 scale = power_of_two(n);
  const f32x16 e = fma(scale, p, scale - broadcast(1.0f));
  return e / (e + broadcast(2.0f));
}

inline f32x16 soft_capped(f32x16 x, float cap) { return tanh(x / broadcast(cap)) * broadcast(cap); }

}  // namespace
}  // namespace gradus::GRADUS_VARIANT
