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
// Bit i is set where lane i of a is at least (or not comparable with) b's.
inline uint32_t lanes_at_least(f32x16 a, f32x16 b) {
  uint32_t mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<uint32_t>(!(a.v[i] < b.v[i])) << i;
  return mask;
}

}  // namespace
}  // namespace gradus::portable
