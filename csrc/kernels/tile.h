// The register tile that matrix products and attention share.
//
//   acc[r][p][lane] += sum over i = 0 .. n, in this order, of x[r][i] * w[p][i * w_stride + lane]
//
// Lanes are independent results and every result has one accumulator, so a result's value does not depend on
// R or P: they only say how many loads are shared.
#pragma once

#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {
namespace {

template <class Stored, int R, int P, int AheadStride = 0>
inline __attribute__((always_inline)) void dot_tile(const float* const (&x)[R],
                                                    const typename Stored::type* const (&w)[P],
                                                    index_t w_stride, index_t n, f32x16 (&acc)[R][P],
                                                    const char* ahead = nullptr) {
  f32x16 local[R][P];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) local[r][p] = acc[r][p];
  }
  for (index_t i = 0; i < n; ++i) {
    if constexpr (AheadStride > 0) __builtin_prefetch(ahead + i * AheadStride, 0, 2);
    // The fewer of rows and panels are held in registers, so that the accumulators never spill.
    if constexpr (P > 1) {
      f32x16 factors[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) factors[r] = broadcast(x[r][i]);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const f32x16 weights = Stored::load16(w[p] + i * w_stride);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) local[r][p] = fma(factors[r], weights, local[r][p]);
      }
    } else {
      const f32x16 weights = Stored::load16(w[0] + i * w_stride);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) local[r][0] = fma(broadcast(x[r][i]), weights, local[r][0]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p) acc[r][p] = local[r][p];
  }
}

}  // namespace
}  // namespace gradus::GRADUS_VARIANT
