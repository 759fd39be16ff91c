// Round to nearest, as gradus/quantization/rtn.py defines it, for a group of sixteen outputs at a time.
//
//   int8:           scale = max |w| / 127     code = w / scale, rounded, in -127 .. 127
//   int4:           scale = (high - low) / 15, centre = low + 8 * scale
//   int4_symmetric, int4_g128:
//                   scale = the end that is further from 0 / -8, centre = 0
//                                             code = (w - centre) / scale, rounded, in -8 .. 7; 8 is added
//                   then three times the line (through 0 where symmetric) that fits the codes best, and codes
//                   anew; the best of the four is kept
//
// Lanes are outputs, and every sum runs over the group's inputs in order: the definition's own order, so
// that codes, scales and centres equal its, whatever the variant. Hence no fma either.
#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {

namespace {

constexpr int num_fits = 3;

// The inputs of a group that all its scales belong to.
struct Group {
  const float* x;  // [size][16]
  index_t size;
};

// Rounded to f16 and back; f16's bits go to `bits`.
inline f32x16 as_f16(f32x16 x, uint16_t* bits) {
  store_f16(bits, min(max(x, broadcast(-65504.0f)), broadcast(65504.0f)));
  return load_f16(bits);
}

inline f32x16 select(const bool (&condition)[16], f32x16 yes, f32x16 no) {
  float a[16], b[16];
  store(a, yes);
  store(b, no);
  for (int i = 0; i < 16; ++i) b[i] = condition[i] ? a[i] : b[i];
  return load(b);
}

// Whether a[i] > b[i].
inline void compare(f32x16 a, f32x16 b, bool (&greater)[16]) {
  float left[16], right[16];
  store(left, a);
  store(right, b);
  for (int i = 0; i < 16; ++i) greater[i] = left[i] > right[i];
}

// 1 / x, and 0 for 0.
inline f32x16 inverse(f32x16 x) {
  float lanes[16];
  store(lanes, x);
  for (float& lane : lanes) lane = lane == 0.0f ? 0.0f : 1.0f / lane;
  return load(lanes);
}

// Clipped before it is rounded, which is the same, and makes a number of a NaN.
inline f32x16 code_of(f32x16 x, float low, float high) {
  return round_nearest(min(max(x, broadcast(low)), broadcast(high)));
}

inline void store_codes(uint8_t* codes, f32x16 x) {
  float lanes[16];
  store(lanes, x);
  for (int i = 0; i < 16; ++i) codes[i] = static_cast<uint8_t>(static_cast<int32_t>(lanes[i]));
}

void quantize_int8(const float* x, uint8_t* codes, uint16_t* scales) {
  f32x16 largest = zero();
  for (index_t i = 0; i < group_size; ++i) {
    const f32x16 w = load(x + i * panel_width);
    largest = max(largest, max(w, zero() - w));
  }
  const f32x16 factor = inverse(as_f16(largest / broadcast(127.0f), scales));
  for (index_t i = 0; i < group_size; ++i)
    store_codes(codes + i * panel_width, code_of(load(x + i * panel_width) * factor, -127.0f, 127.0f));
}

struct Line {
  f32x16 scale, centre, factor;  // of f16's precision; factor is the scale's inverse
};

inline Line line_of(f32x16 scale, f32x16 centre) {
  uint16_t bits[16];
  Line line;
  line.scale = as_f16(scale, bits);
  line.centre = as_f16(centre, bits);
  line.factor = inverse(line.scale);
  return line;
}

struct Ends {
  f32x16 low, high;
};

// With code -8 at the low end and code 7 at the high one.
Line line_between(const Ends& ends) {
  const f32x16 scale = (ends.high - ends.low) / broadcast(15.0f);
  return line_of(scale, ends.low + scale * broadcast(8.0f));
}

// With code 0 at 0 and code -8 at the end that is further from it.
Line line_from_zero(const Ends& ends) {
  bool is_high[16];
  compare(ends.high, zero() - ends.low, is_high);
  const f32x16 end = select(is_high, ends.high, ends.low);
  return line_of(end / broadcast(-8.0f) + zero(), zero());  // no -0
}

// Sums over a group with the codes that a line gives.
struct Sums {
  f32x16 codes, squares, products, errors;  // c, c * c, c * w, (w's error)^2
};

Sums sums_of(const Group& group, const Line& line) {
  Sums sums{zero(), zero(), zero(), zero()};
  for (index_t i = 0; i < group.size; ++i) {
    const f32x16 w = load(group.x + i * panel_width);
    const f32x16 code = code_of((w - line.centre) * line.factor, -8.0f, 7.0f);
    const f32x16 error = code * line.scale + line.centre - w;
    sums.codes = sums.codes + code;
    sums.squares = sums.squares + code * code;
    sums.products = sums.products + code * w;
    sums.errors = sums.errors + error * error;
  }
  return sums;
}

// The least squares' line for the codes of `line`; that line itself where all codes are the same.
Line fitted_line(const Line& line, const Sums& sums, f32x16 mean) {
  const f32x16 share = broadcast(1.0f / group_size);
  const f32x16 mean_code = sums.codes * share;
  const f32x16 variance = sums.squares * share - mean_code * mean_code;
  const f32x16 covariance = sums.products * share - mean_code * mean;
  bool is_line[16];
  compare(variance, broadcast(1e-3f), is_line);
  const f32x16 scale = select(is_line, covariance / variance, line.scale);
  return line_of(scale, select(is_line, mean - scale * mean_code, line.centre));
}

// The same of lines through 0; the old one where all codes are 0.
Line fitted_through_zero(const Line& line, const Sums& sums) {
  bool is_line[16];
  compare(sums.squares, zero(), is_line);
  return line_of(select(is_line, sums.products / sums.squares, line.scale), zero());
}

// The best line so far, and its squared error.
struct Best {
  Line line;
  f32x16 error;

  void compete(const Line& other, f32x16 other_error) {
    bool is_better[16];
    compare(error, other_error, is_better);
    error = select(is_better, other_error, error);
    line.scale = select(is_better, other.scale, line.scale);
    line.centre = select(is_better, other.centre, line.centre);
    line.factor = select(is_better, other.factor, line.factor);
  }
};

void store_nibbles(const Group& group, const Line& line, uint8_t* codes) {
  for (index_t i = 0; i < group.size; ++i) {
    const f32x16 w = load(group.x + i * panel_width);
    const f32x16 code = code_of((w - line.centre) * line.factor, -8.0f, 7.0f);
    store_codes(codes + i * panel_width, code + broadcast(8.0f));
  }
}

Ends ends_of(const Group& group) {
  Ends ends{load(group.x), load(group.x)};
  for (index_t i = 0; i < group.size; ++i) {
    const f32x16 w = load(group.x + i * panel_width);
    ends = {min(ends.low, w), max(ends.high, w)};
  }
  ends.low = ends.low + zero();  // of -0 and 0 either may be the least: 0 it is
  return ends;
}

f32x16 mean_of(const Group& group) {
  f32x16 total = zero();
  for (index_t i = 0; i < group.size; ++i) total = total + load(group.x + i * panel_width);
  return total / broadcast(static_cast<float>(group.size));
}

void quantize_nibbles(const Group& group, bool is_symmetric, uint8_t* codes, uint16_t* scales,
                      uint16_t* centres) {
  const Ends ends = ends_of(group);
  const f32x16 mean = mean_of(group);
  Line line = is_symmetric ? line_from_zero(ends) : line_between(ends);
  Sums sums = sums_of(group, line);
  Best best{line, sums.errors};
  for (int fit = 0; fit < num_fits; ++fit) {
    line = is_symmetric ? fitted_through_zero(line, sums) : fitted_line(line, sums, mean);
    sums = sums_of(group, line);
    best.compete(line, sums.errors);
  }
  store_f16(scales, best.line.scale);
  if (!is_symmetric) store_f16(centres, best.line.centre);
  store_nibbles(group, best.line, codes);
}

}  // namespace

void quantize_weights(const float* x, Format format, uint8_t* codes, uint16_t* scales, uint16_t* centres) {
  const Group group{x, groups_per_factor(format) * group_size};
  if (format == Format::int8) {
    quantize_int8(x, codes, scales);
  } else {
    quantize_nibbles(group, !has_centres(format), codes, scales, centres);
  }
}

}  // namespace gradus::GRADUS_VARIANT
