// f32x16 on AVX2 with FMA and F16C: two registers of eight floats.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace gradus::avx2 {
namespace {

struct f32x16 {
  __m256 lo, hi;
};

inline f32x16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline f32x16 broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline f32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, f32x16 x) {
  _mm256_storeu_ps(p, x.lo);
  _mm256_storeu_ps(p + 8, x.hi);
}

inline __m256 widen_bf16(__m128i bits) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline f32x16 load_bf16(const uint16_t* p) {
  return {widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline f32x16 load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline void store_f16(uint16_t* p, f32x16 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT));
}

inline f32x16 add(f32x16 a, f32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
inline f32x16 sub(f32x16 a, f32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
inline f32x16 mul(f32x16 a, f32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
inline f32x16 div(f32x16 a, f32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
// A NaN in b is kept.
inline f32x16 max(f32x16 a, f32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
inline f32x16 min(f32x16 a, f32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
// a * b + c
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
// c + *a * b
inline f32x16 fma_broadcast(const float* a, f32x16 b, f32x16 c) { return fma(broadcast(*a), b, c); }
constexpr int rows_of_two = 3;  // rows whose sums with two vectors each stay in registers
// c - a * b
inline f32x16 negative_fma(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
}
inline f32x16 round_nearest(f32x16 x) {
  constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.lo, mode), _mm256_round_ps(x.hi, mode)};
}
// 2^n for whole n in -126 .. 127.
inline __m256 power_of_two(__m256 n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline f32x16 power_of_two(f32x16 n) { return {power_of_two(n.lo), power_of_two(n.hi)}; }
// x * 2^n for whole n in -252 .. 254, rounded once: the first of two factors is exact.
inline f32x16 times_power_of_two(f32x16 x, f32x16 n) {
  const f32x16 half = round_nearest(mul(n, broadcast(0.5f)));
  return mul(mul(x, power_of_two(half)), power_of_two(sub(n, half)));
}

// Sum of lanes, as the tree (i, i + 8), (i, i + 4), (i, i + 2), (i, i + 1).
inline float sum(f32x16 x) {
  const __m256 eight = _mm256_add_ps(x.lo, x.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest(f32x16 x) {
  const __m256 eight = _mm256_max_ps(x.lo, x.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
inline __m256i magnitude_bits(__m256 x) {
  return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7FFFFFFF));
}
inline __m256 max_of_bits(__m256 a, __m256i b) {
  return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), b));
}
// Per lane the larger of `most` and |x|, where NaN is larger than any number.
inline f32x16 max_magnitude(f32x16 most, f32x16 x) {
  return {max_of_bits(most.lo, magnitude_bits(x.lo)), max_of_bits(most.hi, magnitude_bits(x.hi))};
}
// Of lanes that max_magnitude made.
inline float largest_magnitude(f32x16 most) {
  const __m256i eight = _mm256_castps_si256(max_of_bits(most.lo, _mm256_castps_si256(most.hi)));
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4E));
  return _mm_cvtss_f32(_mm_castsi128_ps(_mm_max_epi32(two, _mm_shuffle_epi32(two, 0xB1))));
}
// Bit i is set where lane i of a is at least (or not comparable with) b's.
inline uint32_t lanes_at_least(f32x16 a, f32x16 b) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_NLT_UQ))) |
         static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a.hi, b.hi, _CMP_NLT_UQ))) << 8;
}

// Integers for quantized products: a block is 16 outputs x 4 k of 8 bits, or one row's 4 k for all of them.
constexpr int quantized_tile_rows = 6;  // their 12 sums, the weights and a row stay in registers
struct i8x64 {
  __m256i lo, hi;  // outputs 0 .. 8 and 8 .. 16
};
struct i4_sums {
  __m256i lo, hi;  // of 16 bits: two lanes an output, each with half of the k
};
struct i32x16 {
  __m256i lo, hi;
};
using i8_sums = i32x16;
struct i8_block {
  i8x64 w, magnitudes;
};

inline __m256i load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline i8x64 load_i8(const uint8_t* p) { return {load_bytes(p), load_bytes(p + 32)}; }
// 64 bytes of two codes each: the low nibbles are one block, the high ones the next.
inline i8x64 load_low_nibbles(const uint8_t* p) {
  const i8x64 both = load_i8(p);
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(both.lo, mask), _mm256_and_si256(both.hi, mask)};
}
inline i8x64 load_high_nibbles(const uint8_t* p) {
  const i8x64 both = load_i8(p);
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(_mm256_srli_epi16(both.lo, 4), mask),
          _mm256_and_si256(_mm256_srli_epi16(both.hi, 4), mask)};
}
inline i8x64 broadcast4(const int8_t* p) {
  int32_t four;
  __builtin_memcpy(&four, p, 4);
  const __m256i all = _mm256_set1_epi32(four);
  return {all, all};
}
inline i4_sums start_i4(const ActivationGroup& x) {
  int32_t two_lanes;
  __builtin_memcpy(&two_lanes, x.int4_start, 4);
  const __m256i start = _mm256_set1_epi32(two_lanes);
  return {start, start};
}
// The sum as it stands: a compiler that adds a group's products up in a tree has to spill most of them.
inline __m256i settled(__m256i sum) {
  __asm__("" : "+x"(sum));
  return sum;
}
// sums + w * x of pairs of k, for w in 0 .. 15: eight blocks fit into 16 bits.
inline i4_sums add_products_i4(i4_sums sums, i8x64 w, const int8_t* codes) {
  const i8x64 x = broadcast4(codes);
  return {settled(_mm256_add_epi16(sums.lo, _mm256_maddubs_epi16(w.lo, x.lo))),
          settled(_mm256_add_epi16(sums.hi, _mm256_maddubs_epi16(w.hi, x.hi)))};
}
inline i32x16 total_i4(i4_sums sums) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(sums.lo, ones), _mm256_madd_epi16(sums.hi, ones)};
}
// A group's sums, to be added to `total`, and both when they are complete.
inline i4_sums resume_i4(i32x16) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
inline i32x16 resumed_i4(i32x16 total, i4_sums sums) {
  const i32x16 group = total_i4(sums);
  return {_mm256_add_epi32(total.lo, group.lo), _mm256_add_epi32(total.hi, group.hi)};
}
inline i8_block load_i8_block(const uint8_t* p) {
  const i8x64 w = load_i8(p);
  return {w, {_mm256_abs_epi8(w.lo), _mm256_abs_epi8(w.hi)}};
}
inline i8_sums start_i8(const ActivationGroup&) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
// |w| * (x with w's sign): one block's pairs of at most 2 * 127 * 127 fit into 16 bits, no two blocks' do.
inline __m256i four_products_i8(__m256i magnitudes, __m256i w, __m256i x) {
  const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(x, w));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
inline i8_sums add_products_i8(i8_sums sums, const i8_block& w, const int8_t* codes) {
  const i8x64 x = broadcast4(codes);
  return {settled(_mm256_add_epi32(sums.lo, four_products_i8(w.magnitudes.lo, w.w.lo, x.lo))),
          settled(_mm256_add_epi32(sums.hi, four_products_i8(w.magnitudes.hi, w.w.hi, x.hi)))};
}
inline i32x16 broadcast_i32(int32_t x) {
  const __m256i all = _mm256_set1_epi32(x);
  return {all, all};
}
inline f32x16 to_float(i32x16 x) { return {_mm256_cvtepi32_ps(x.lo), _mm256_cvtepi32_ps(x.hi)}; }
inline i32x16 shift_left(i32x16 x, int32_t by) {
  const __m256i all = _mm256_set1_epi32(by);
  return {_mm256_sllv_epi32(x.lo, all), _mm256_sllv_epi32(x.hi, all)};
}
inline i32x16 add(i32x16 a, i32x16 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
// Rounded to nearest even; NaN, and what is below, is -127.
inline i32x16 to_code(f32x16 x) {
  const __m256i least = _mm256_set1_epi32(-127);
  return {_mm256_max_epi32(_mm256_cvtps_epi32(x.lo), least),
          _mm256_max_epi32(_mm256_cvtps_epi32(x.hi), least)};
}
// Numbers within -128 .. 127.
inline void store_i8(int8_t* p, i32x16 x) {
  const __m256i ordered = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xD8);
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
inline __m256i sum_of_halves(i32x16 x) { return _mm256_add_epi32(x.lo, x.hi); }
// Sums of four registers' lanes.
inline void store_sums(int32_t* p, const i32x16 (&x)[4]) {
  const __m256i pairs = _mm256_hadd_epi32(sum_of_halves(x[0]), sum_of_halves(x[1]));
  const __m256i fours = _mm256_hadd_epi32(pairs, _mm256_hadd_epi32(sum_of_halves(x[2]), sum_of_halves(x[3])));
  const __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(fours), _mm256_extracti128_si256(fours, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), sums);
}

}  // namespace
}  // namespace gradus::avx2
