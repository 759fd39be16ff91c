// f32x16 without intrinsics: the specification of the vector versions, right on any CPU.
//
// GCC's and Clang's vector extension, which the compiler lowers to whatever the baseline offers. fma is a
// product and a sum, rounded twice: results are the same on every machine, and differ from the FMA variants
// in the last bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "half.h"

namespace gradus::portable {
namespace {

typedef float lanes16 __attribute__((vector_size(64), aligned(4)));

struct f32x16 {
  lanes16 v;
};

inline f32x16 broadcast(float x) { return {lanes16{} + x}; }
inline f32x16 zero() { return {lanes16{}}; }
inline f32x16 load(const float* p) {
  f32x16 x;
  std::memcpy(&x.v, p, sizeof x.v);
  return x;
}
inline void store(float* p, f32x16 x) { std::memcpy(p, &x.v, sizeof x.v); }

inline f32x16 load_bf16(const uint16_t* p) {
  f32x16 x;
  for (int i = 0; i < 16; ++i) x.v[i] = bf16_to_f32(p[i]);
  return x;
}
inline f32x16 load_f16(const uint16_t* p) {
  f32x16 x;
  for (int i = 0; i < 16; ++i) x.v[i] = f16_to_f32(p[i]);
  return x;
}
inline void store_f16(uint16_t* p, f32x16 x) {
  for (int i = 0; i < 16; ++i) p[i] = f32_to_f16(x.v[i]);
}

inline f32x16 add(f32x16 a, f32x16 b) { return {a.v + b.v}; }
inline f32x16 sub(f32x16 a, f32x16 b) { return {a.v - b.v}; }
inline f32x16 mul(f32x16 a, f32x16 b) { return {a.v * b.v}; }
inline f32x16 div(f32x16 a, f32x16 b) { return {a.v / b.v}; }
// A NaN in b is kept.
inline f32x16 max(f32x16 a, f32x16 b) {
  for (int i = 0; i < 16; ++i) b.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return b;
}
inline f32x16 min(f32x16 a, f32x16 b) {
  for (int i = 0; i < 16; ++i) b.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return b;
}
// a * b + c
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return {a.v * b.v + c.v}; }
// c + *a * b
inline f32x16 fma_broadcast(const float* a, f32x16 b, f32x16 c) { return fma(broadcast(*a), b, c); }
constexpr int rows_of_two = 3;  // rows whose sums with two vectors each stay in registers
// c - a * b
inline f32x16 negative_fma(f32x16 a, f32x16 b, f32x16 c) { return {c.v - a.v * b.v}; }
inline f32x16 round_nearest(f32x16 x) {
  // Beyond 2^23 every float is whole; below, adding and subtracting 1.5 * 2^23 rounds to even.
  for (int i = 0; i < 16; ++i) {
    const float shifted = x.v[i] + 12582912.0f;
    x.v[i] = std::fabs(x.v[i]) < 4194304.0f ? shifted - 12582912.0f : x.v[i];
  }
  return x;
}
// 2^n for whole n in -126 .. 127.
inline f32x16 power_of_two(f32x16 n) {
  for (int i = 0; i < 16; ++i) {
    n.v[i] =
        n.v[i] == n.v[i] ? float_of(static_cast<uint32_t>(static_cast<int32_t>(n.v[i]) + 127) << 23) : n.v[i];
  }
  return n;
}
// x * 2^n for whole n in -252 .. 254, rounded once: the first of two factors is exact.
inline f32x16 times_power_of_two(f32x16 x, f32x16 n) {
  const f32x16 half = round_nearest(mul(n, broadcast(0.5f)));
  return mul(mul(x, power_of_two(half)), power_of_two(sub(n, half)));
}

// Sum of lanes, as the tree (i, i + 8), (i, i + 4), (i, i + 2), (i, i + 1).
inline float sum(f32x16 x) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) x.v[i] = x.v[i] + x.v[i + width];
  }
  return x.v[0];
}
inline float largest(f32x16 x) {
  float result = x.v[0];
  for (int i = 1; i < 16; ++i) result = result > x.v[i] ? result : x.v[i];
  return result;
}
inline float larger_or_nan(float a, float b) { return a != a || b <= a ? a : b; }
// Per lane the larger of `most` and |x|, where NaN is larger than any number.
inline f32x16 max_magnitude(f32x16 most, f32x16 x) {
  for (int i = 0; i < 16; ++i) most.v[i] = larger_or_nan(most.v[i], std::fabs(x.v[i]));
  return most;
}
// Of lanes that max_magnitude made.
inline float largest_magnitude(f32x16 most) {
  float result = most.v[0];
  for (int i = 1; i < 16; ++i) result = larger_or_nan(result, most.v[i]);
  return result;
}
// Bit i is set where lane i of a is at least (or not comparable with) b's.
inline uint32_t lanes_at_least(f32x16 a, f32x16 b) {
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<uint32_t>(!(a.v[i] < b.v[i])) << i;
  return mask;
}

// Integers for quantized products: a block is 16 outputs x 4 k of 8 bits, or one row's 4 k for all of them.
constexpr int quantized_tile_rows = 4;
struct i8x64 {
  int8_t v[64];
};
struct i32x16 {
  int32_t v[16];
};
using i4_sums = i32x16;
using i8_sums = i32x16;
using i8_block = i8x64;

inline i8x64 load_i8(const uint8_t* p) {
  i8x64 block;
  std::memcpy(block.v, p, sizeof block.v);
  return block;
}
// 64 bytes of two codes each: the low nibbles are one block, the high ones the next.
inline i8x64 load_low_nibbles(const uint8_t* p) {
  i8x64 block;
  for (int i = 0; i < 64; ++i) block.v[i] = static_cast<int8_t>(p[i] & 15);
  return block;
}
inline i8x64 load_high_nibbles(const uint8_t* p) {
  i8x64 block;
  for (int i = 0; i < 64; ++i) block.v[i] = static_cast<int8_t>(p[i] >> 4);
  return block;
}
inline i32x16 add_products(i32x16 sums, const i8x64& w, const int8_t* x) {
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 4; ++j) sums.v[i] += w.v[4 * i + j] * x[j];
  }
  return sums;
}
inline i4_sums start_i4(const ActivationGroup& x) {
  i4_sums sums;
  for (int i = 0; i < 16; ++i) sums.v[i] = x.int4_start[0] + x.int4_start[1];
  return sums;
}
inline i4_sums add_products_i4(i4_sums sums, const i8x64& w, const int8_t* x) {
  return add_products(sums, w, x);
}
inline i32x16 total_i4(i4_sums sums) { return sums; }
// A group's sums, to be added to `total`, and both when they are complete.
inline i4_sums resume_i4(i32x16 total) { return total; }
inline i32x16 resumed_i4(i32x16, i4_sums sums) { return sums; }
inline i8_block load_i8_block(const uint8_t* p) { return load_i8(p); }
inline i8_sums start_i8(const ActivationGroup&) { return {}; }
inline i8_sums add_products_i8(i8_sums sums, const i8_block& w, const int8_t* x) {
  return add_products(sums, w, x);
}
inline i32x16 broadcast_i32(int32_t x) {
  i32x16 result;
  for (int32_t& lane : result.v) lane = x;
  return result;
}
inline f32x16 to_float(i32x16 x) {
  f32x16 result;
  for (int i = 0; i < 16; ++i) result.v[i] = static_cast<float>(x.v[i]);
  return result;
}
inline i32x16 shift_left(i32x16 x, int32_t by) {
  for (int32_t& lane : x.v) lane *= int32_t{1} << by;
  return x;
}
inline i32x16 add(i32x16 a, i32x16 b) {
  for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
  return a;
}
// Rounded to nearest even; NaN, and what is below, is -127.
inline i32x16 to_code(f32x16 x) {
  const f32x16 whole = round_nearest(x);
  i32x16 codes;
  for (int i = 0; i < 16; ++i) codes.v[i] = whole.v[i] > -127.0f ? static_cast<int32_t>(whole.v[i]) : -127;
  return codes;
}
// Numbers within -128 .. 127.
inline void store_i8(int8_t* p, i32x16 x) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<int8_t>(x.v[i]);
}
// Sums of four registers' lanes.
inline void store_sums(int32_t* p, const i32x16 (&x)[4]) {
  for (int j = 0; j < 4; ++j) {
    p[j] = 0;
    for (int i = 0; i < 16; ++i) p[j] += x[j].v[i];
  }
}

}  // namespace
}  // namespace gradus::portable
