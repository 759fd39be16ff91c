// Passes over one row of logits, n of them: the parts of sampling that are long enough to vectorize.
//
//   softmax_weights: weights[i] = exp((logits[i] - max) / temperature) in f64, to about 1 ulp; and sums of
//   them, one for every weight_block of tokens, so that finding a token by cumulative weight need not walk
//   all
#include "half.h"
#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {

LogitSummary summarize(const float* logits, int64_t n) {
  f32x16 top = broadcast(-__builtin_inff());
  // x - x is 0 for finite x and NaN for others; sums of zeros stay 0. -inf is allowed, so it is lifted first.
  f32x16 errors = zero();
  for (index_t i = 0; i < n; i += 16) {
    const f32x16 x =
        n - i >= 16 ? load(logits + i) : keep_first(load_first(logits + i, n - i), n - i, -__builtin_inff());
    top = max(top, x);
    const f32x16 lifted = max(broadcast(-3.4028235e38f), x);
    errors = errors + (lifted - lifted);
  }
  const float total = sum(errors);
  return {largest(top), !(total == 0)};
}

namespace {

// exp for x <= 0 in f64, branch-free so that the loop over it vectorizes. x = n ln 2 + r, |r| <= ln 2 / 2;
// Taylor to degree 13 (truncation 4e-18); n by adding 1.5 * 2^52, whose low bits then hold it. 0 below -708.
inline double exp_f64(double x) {
  const double shift = 6755399441055744.0;
  const double bounded = x < -708.0 ? -708.0 : x;
  const double shifted = bounded * 1.4426950408889634 + shift;
  const double n = shifted - shift;
  const double r = (bounded - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r * r + r + 1.0;
  uint64_t bits;
  __builtin_memcpy(&bits, &shifted, sizeof bits);
  bits = x < -708.0 ? 0 : (bits + 1023) << 52;
  double scale;
  __builtin_memcpy(&scale, &bits, sizeof scale);
  return p * scale;
}

}  // namespace

void softmax_weights(const float* logits, int64_t n, double max, double temperature, double* weights,
                     double* block_sums) {
  for (index_t i = 0; i < n; ++i) weights[i] = exp_f64((static_cast<double>(logits[i]) - max) / temperature);
  for (index_t begin = 0; begin < n; begin += weight_block) {
    const index_t end = min_of(begin + weight_block, n);
    double lanes[8] = {};
    index_t i = begin;
    for (; i + 8 <= end; i += 8) {
      for (int lane = 0; lane < 8; ++lane) lanes[lane] += weights[i + lane];
    }
    for (; i < end; ++i) lanes[0] += weights[i];
    *block_sums++ =
        ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
}

int64_t count_above(const float* logits, int64_t n, float value) {
  index_t count = 0;
  for (index_t i = 0; i < n; ++i) count += logits[i] > value;
  return count;
}

int64_t find_at_least(const float* logits, int64_t begin, int64_t n, float threshold, int32_t* found,
                      int64_t capacity, int64_t* end) {
  const f32x16 bound = broadcast(threshold);
  index_t count = 0;
  index_t i = begin;
  for (; i < n && count + 16 <= capacity; i += 16) {
    const f32x16 x = n - i >= 16 ? load(logits + i) : load_first(logits + i, n - i);
    uint32_t lanes = lanes_at_least(x, bound);
    if (n - i < 16) lanes &= (1u << (n - i)) - 1;
    for (; lanes; lanes &= lanes - 1) found[count++] = static_cast<int32_t>(i + __builtin_ctz(lanes));
  }
  *end = i < n ? i : n;
  return count;
}

}  // namespace gradus::GRADUS_VARIANT
