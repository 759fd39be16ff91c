// A square of 16 x 16 16-bit elements, transposed: K goes from rows of tokens to the cache's columns.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace gradus::GRADUS_VARIANT {
namespace {

#if defined(__AVX2__)

// Eight rows, both 128-bit lanes at once. Interleaving row i with row i + 4 turns the highest bit of an
// element's row number into the lowest of its column number; three times that is a transposition.
inline void transpose_lanes(__m256i (&rows)[8]) {
#pragma GCC unroll 3
  for (int bit = 0; bit < 3; ++bit) {
    __m256i interleaved[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      interleaved[2 * i] = _mm256_unpacklo_epi16(rows[i], rows[i + 4]);
      interleaved[2 * i + 1] = _mm256_unpackhi_epi16(rows[i], rows[i + 4]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) rows[i] = interleaved[i];
  }
}

// out[i * 16 + j] = in[j][i]
inline void transpose16(const uint16_t (&in)[16][16], uint16_t* out) {
  __m256i halves[2][8];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      halves[half][i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in[8 * half + i]));
    transpose_lanes(halves[half]);
  }
  auto* rows = reinterpret_cast<__m256i*>(out);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    _mm256_storeu_si256(rows + i, _mm256_permute2x128_si256(halves[0][i], halves[1][i], 0x20));
    _mm256_storeu_si256(rows + i + 8, _mm256_permute2x128_si256(halves[0][i], halves[1][i], 0x31));
  }
}

#else

inline void transpose16(const uint16_t (&in)[16][16], uint16_t* out) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) out[i * 16 + j] = in[j][i];
  }
}

#endif

}  // namespace
}  // namespace gradus::GRADUS_VARIANT
