// f32x16 on AVX-512 (F, BW, DQ, VL) with VNNI: one register of sixteen floats.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace gradus::avx512 {
namespace {

struct f32x16 {
  __m512 v;
};

inline f32x16 zero() { return {_mm512_setzero_ps()}; }
inline f32x16 broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline f32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, f32x16 x) { _mm512_storeu_ps(p, x.v); }

inline __m256i load_words(const uint16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
inline f32x16 load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_words(p)), 16))};
}
inline f32x16 load_f16(const uint16_t* p) { return {_mm512_cvtph_ps(load_words(p))}; }
inline void store_f16(uint16_t* p, f32x16 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}

inline f32x16 add(f32x16 a, f32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline f32x16 sub(f32x16 a, f32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline f32x16 mul(f32x16 a, f32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline f32x16 div(f32x16 a, f32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
// A NaN in b is kept.
inline f32x16 max(f32x16 a, f32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline f32x16 min(f32x16 a, f32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
// a * b + c
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// c + *a * b, the factor being part of the instruction: a broadcast into a register would take a slot of the
// units that multiply.
inline f32x16 fma_broadcast(const float* a, f32x16 b, f32x16 c) {
  __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c.v) : "v"(b.v), "m"(*a));
  return c;
}
constexpr int rows_of_two = 6;  // rows whose sums with two vectors each stay in registers
// c - a * b
inline f32x16 negative_fma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline f32x16 round_nearest(f32x16 x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// 2^n for whole n in -126 .. 127.
inline f32x16 power_of_two(f32x16 n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}
// x * 2^n for whole n in -252 .. 254, rounded once.
inline f32x16 times_power_of_two(f32x16 x, f32x16 n) { return {_mm512_scalef_ps(x.v, n.v)}; }

inline __m256 low_half(f32x16 x) { return _mm512_castps512_ps256(x.v); }
inline __m256 high_half(f32x16 x) { return _mm512_extractf32x8_ps(x.v, 1); }
// Sum of lanes, as the tree (i, i + 8), (i, i + 4), (i, i + 2), (i, i + 1).
inline float sum(f32x16 x) {
  const __m256 eight = _mm256_add_ps(low_half(x), high_half(x));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(f32x16 x) {
  const __m256 eight = _mm256_max_ps(low_half(x), high_half(x));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
// Per lane the larger of `most` and |x|, where NaN is larger than any number.
inline f32x16 max_magnitude(f32x16 most, f32x16 x) {
  const __m512i magnitude = _mm512_and_si512(_mm512_castps_si512(x.v), _mm512_set1_epi32(0x7FFFFFFF));
  return {_mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(most.v), magnitude))};
}
// Of lanes that max_magnitude made.
inline float largest_magnitude(f32x16 most) {
  return _mm_cvtss_f32(
      _mm_castsi128_ps(_mm_cvtsi32_si128(_mm512_reduce_max_epi32(_mm512_castps_si512(most.v)))));
}
// Bit i is set where lane i of a is at least (or not comparable with) b's.
inline uint32_t lanes_at_least(f32x16 a, f32x16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ); }

// Integers for quantized products: a block is 16 outputs x 4 k of 8 bits, or one row's 4 k for all of them.
constexpr int quantized_tile_rows = 8;  // of the 32 registers, 16 are sums and results
struct i8x64 {
  __m512i v;
};
struct i32x16 {
  __m512i v;
};
using i4_sums = i32x16;
using i8_sums = i32x16;
using i8_block = i8x64;

inline i8x64 load_i8(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
// 64 bytes of two codes each: the low nibbles are one block, the high ones the next.
inline i8x64 load_low_nibbles(const uint8_t* p) {
  return {_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(15))};
}
inline i8x64 load_high_nibbles(const uint8_t* p) {
  return {_mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4), _mm512_set1_epi8(15))};
}
// sums + w * x, a row's 4 codes being part of the instruction: half as many instructions are in flight, and
// the weights that they wait for are farther ahead.
inline i32x16 add_products(i32x16 sums, i8x64 w, const int8_t* x) {
  __asm__("vpdpbusd %2%{1to16%}, %1, %0"
          : "+v"(sums.v)
          : "v"(w.v), "m"(*reinterpret_cast<const int8_t (*)[4]>(x)));
  return sums;
}
inline i4_sums start_i4(const ActivationGroup& x) {
  return {_mm512_srai_epi32(_mm512_set1_epi32(x.int8_start), 4)};
}
inline i4_sums add_products_i4(i4_sums sums, i8x64 w, const int8_t* x) { return add_products(sums, w, x); }
inline i32x16 total_i4(i4_sums sums) { return sums; }
// A group's sums, to be added to `total`, and both when they are complete.
inline i4_sums resume_i4(i32x16 total) { return total; }
inline i32x16 resumed_i4(i32x16, i4_sums sums) { return sums; }
// The instruction takes one unsigned factor: w + 128.
inline i8_block load_i8_block(const uint8_t* p) {
  return {_mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(-128))};
}
inline i8_sums start_i8(const ActivationGroup& x) { return {_mm512_set1_epi32(x.int8_start)}; }
inline i8_sums add_products_i8(i8_sums sums, i8_block w, const int8_t* x) { return add_products(sums, w, x); }
inline i32x16 broadcast_i32(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline f32x16 to_float(i32x16 x) { return {_mm512_cvtepi32_ps(x.v)}; }
inline i32x16 shift_left(i32x16 x, int32_t by) { return {_mm512_sllv_epi32(x.v, _mm512_set1_epi32(by))}; }
inline i32x16 add(i32x16 a, i32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
// Rounded to nearest even; NaN, and what is below, is -127.
inline i32x16 to_code(f32x16 x) {
  return {_mm512_max_epi32(_mm512_cvtps_epi32(x.v), _mm512_set1_epi32(-127))};
}
// Numbers within -128 .. 127.
inline void store_i8(int8_t* p, i32x16 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
}
inline __m256i sum_of_halves(i32x16 x) {
  return _mm256_add_epi32(_mm512_castsi512_si256(x.v), _mm512_extracti32x8_epi32(x.v, 1));
}
// Sums of four registers' lanes.
inline void store_sums(int32_t* p, const i32x16 (&x)[4]) {
  const __m256i pairs = _mm256_hadd_epi32(sum_of_halves(x[0]), sum_of_halves(x[1]));
  const __m256i fours = _mm256_hadd_epi32(pairs, _mm256_hadd_epi32(sum_of_halves(x[2]), sum_of_halves(x[3])));
  const __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), sums);
}

}  // namespace
}  // namespace gradus::avx512
