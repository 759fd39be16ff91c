// Pairs of bf16 on AVX512-BF16: what multiplies twice as many numbers an instruction as f32, with sums in
// f32.
//
// For translation units of the AVX-512 variant that are compiled for AVX512-BF16 too. The instruction takes
// subnormal numbers for 0, products and sums too.
#pragma once

#include "kernels/simd.h"

namespace gradus::avx512 {
namespace {

// Sixteen lanes of two neighbours in a sum.
struct bf16x32 {
  __m512i v;
};

inline bf16x32 load_pairs(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
inline void store_pairs(uint32_t* p, bf16x32 x) { _mm512_storeu_si512(p, x.v); }

// Lanes 0 .. 15 are (a0, a1), (a2, a3) ... (b14, b15), rounded.
inline bf16x32 side_by_side(f32x16 a, f32x16 b) {
  return {reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.v, a.v))};
}
// Lane i is (a[i], b[i]), rounded.
inline bf16x32 interleaved(f32x16 a, f32x16 b) {
  alignas(64) static constexpr uint16_t from[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                    21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                    11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return {_mm512_permutexvar_epi16(_mm512_load_si512(from), side_by_side(a, b).v)};
}
// Pairs (a0, a1) ... (a14, a15), rounded.
inline void store_eight_pairs(uint32_t* p, f32x16 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a.v)));
}

// Lane i: c[i] + x.first * w[i].first + x.second * w[i].second for one pair x; see `fma_broadcast`.
inline f32x16 add_products(const uint32_t* x, bf16x32 w, f32x16 c) {
  __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(c.v) : "v"(w.v), "m"(*x));
  return c;
}
// Lane i: c[i] + w[i].first + w[i].second.
inline f32x16 add_pairs(bf16x32 w, f32x16 c) {
  const __m512i ones = _mm512_set1_epi32(0x3f803f80);
  return {_mm512_dpbf16_ps(c.v, reinterpret_cast<__m512bh>(w.v), reinterpret_cast<__m512bh>(ones))};
}

// Lanes before `first` and from `end` on replaced by `fill`'s.
inline f32x16 keep_lanes(f32x16 x, index_t first, index_t end, f32x16 fill) {
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __mmask16 kept = _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(static_cast<int>(first))) &
                         _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(static_cast<int>(end)));
  return {_mm512_mask_mov_ps(fill.v, kept, x.v)};
}

// 2^x to 9e-5 of it, a fortieth of what rounding to bf16 can cost; 2^0 is 1.
// 2^(x - floor x) is the polynomial of degree 3 with the smallest relative error that is 1 at 0.
inline f32x16 rough_exp2(f32x16 x) {
  const f32x16 r = {_mm512_reduce_ps(x.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
  f32x16 p = fma(broadcast(0.0770635158f), r, broadcast(0.227648839f));
  p = fma(p, r, broadcast(0.695115924f));
  p = fma(p, r, broadcast(1.0f));
  return {_mm512_scalef_ps(p.v, x.v)};
}
}  // namespace
}  // namespace gradus::avx512
