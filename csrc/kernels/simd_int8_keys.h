// f16 keys into codes of 8 bits, as `add_products` takes them: for AVX-512.
#pragma once

#include "kernels/simd.h"

namespace gradus::avx512 {
namespace {

// Lane i: the largest |p[16 j + i]| of j < n, which is even; NaN is larger than any number.
inline __attribute__((always_inline)) f32x16 largest_magnitudes(const uint16_t* p, index_t n) {
  __m512i most = _mm512_setzero_si512();
#pragma GCC unroll 16
  for (index_t j = 0; j < n; j += 2) {
    const __m512i magnitudes = _mm512_and_si512(_mm512_loadu_si512(p + 16 * j), _mm512_set1_epi16(0x7fff));
    most = _mm512_max_epu16(most, magnitudes);
  }
  const __m256i halves = _mm256_max_epu16(_mm512_castsi512_si256(most), _mm512_extracti64x4_epi64(most, 1));
  return {_mm512_cvtph_ps(halves)};
}

// Lane i: the codes of p[i], p[16 + i], p[32 + i] and p[48 + i], each x * factor[i] rounded to nearest even,
// + 128. From p[16 n] on they are 0 + 128.
inline __attribute__((always_inline)) i8x64 four_codes(const uint16_t* p, index_t n, f32x16 factor) {
  __m512i codes[4];
#pragma GCC unroll 4
  for (index_t j = 0; j < 4; ++j) {
    codes[j] = j < n ? _mm512_cvtps_epi32(mul(load_f16(p + 16 * j), factor).v) : _mm512_setzero_si512();
  }
  const __m512i bytes =
      _mm512_packs_epi16(_mm512_packs_epi32(codes[0], codes[1]), _mm512_packs_epi32(codes[2], codes[3]));
  const __m512i order =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  return {_mm512_xor_si512(_mm512_shuffle_epi8(bytes, order), _mm512_set1_epi8(-128))};
}

inline void store_codes(uint32_t* p, i8x64 codes) { _mm512_storeu_si512(p, codes.v); }

}  // namespace
}  // namespace gradus::avx512
