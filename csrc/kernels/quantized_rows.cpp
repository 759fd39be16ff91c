// Into and out of groups of 32 quantized numbers.
//
//   quantize:  x_scale = max |x| / 127; q = x * (127 / max |x|), rounded to nearest even; per row and 128.
//              A row becomes its ActivationGroups, in place too: they are stored where their numbers, or
//              earlier ones, were. Missing elements of the last group are zeros. Four groups below 1e-30 are
//              zero. Four with a NaN or an infinity get a scale of NaN, so that it stays visible.
//              In quads max |x| is the row's, and those of 128 with a smaller one are scaled up by the
//              largest power of two that keeps their codes within 127, at most 2^most_shift; a row below
//              1e-30 is zero, and one with a NaN or an infinity has a scale of NaN.
//   unpack:    int8: scale * c; 4 bits: scale * (c - 8), and + centre in int4. The product is exact in f32,
//              the sum is rounded once.
#include "half.h"
#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {

namespace {

// Of input i of a group's output `lane`: c, or c - 8 in 4 bits.
inline float code_at(const uint8_t* group, bool is_int4, index_t i, index_t lane) {
  const index_t block = i / 4;
  const uint8_t byte = group[((is_int4 ? block / 2 : block) * panel_width + lane) * 4 + i % 4];
  return static_cast<float>(is_int4 ? (byte >> block % 2 * 4 & 15) - 8 : static_cast<int8_t>(byte));
}

}  // namespace

void unpack_quantized(const uint8_t* group, const uint8_t* factors, Format format, float* w) {
  const auto* halves = reinterpret_cast<const uint16_t*>(factors);
  const f32x16 scale = load_f16(halves);
  const f32x16 centre = has_centres(format) ? load_f16(halves + panel_width) : zero();
  for (index_t i = 0; i < group_size; ++i) {
    float codes[panel_width];
    for (index_t lane = 0; lane < panel_width; ++lane)
      codes[lane] = code_at(group, has_nibbles(format), i, lane);
    store(w + i * panel_width, fma(load(codes), scale, centre));
  }
}

void embed_quantized(const void* weight, Format format, int64_t k, const int32_t* ids, float scale,
                     int64_t rows, Rows y) {
  const index_t groups = num_groups(k), panel_bytes = quantized_panel_bytes(format, k);
  for (index_t row = 0; row < rows; ++row) {
    const auto* panel = static_cast<const uint8_t*>(weight) + ids[row] / panel_width * panel_bytes;
    const index_t lane = ids[row] % panel_width;
    float* out = y.data + row * y.stride;
    for (index_t g = 0; g < groups; ++g) {
      const uint8_t* group = panel + codes_at(format, g);
      const auto* halves = reinterpret_cast<const uint16_t*>(panel + factors_at(format, g, groups)) + lane;
      const float group_scale = f16_to_f32(halves[0]);
      const float centre = has_centres(format) ? f16_to_f32(halves[panel_width]) : 0.0f;
      for (index_t i = 0; i < min_of(group_size, k - g * group_size); ++i)
        out[g * group_size + i] =
            (code_at(group, has_nibbles(format), i, lane) * group_scale + centre) * scale;
    }
  }
}

namespace {

constexpr index_t registers_per_quad = quad_size / 16;

// x, at most quad_size numbers, and zeros. All are there before the first is overwritten.
struct Values {
  f32x16 of[registers_per_quad];

  Values(const float* x, index_t count) {
    for (index_t i = 0; i < registers_per_quad; ++i)
      of[i] = 16 * i < count ? load_first(x + 16 * i, count - 16 * i) : zero();
  }

  float largest() const {
    f32x16 magnitudes = zero();
    for (const f32x16& x : of) magnitudes = max_magnitude(magnitudes, x);
    return largest_magnitude(magnitudes);
  }
};

float scale_of(float most) {
  const float nothing = most - most;  // 0, or NaN
  return (most > 1e-30f ? most / 127.0f : 0.0f) + nothing;
}
float inverse_of(float most) { return most > 1e-30f ? 127.0f / most : 0.0f; }

// Of groups, `stride` bytes apart, the codes; and their sums.
inline __attribute__((always_inline)) void store_codes(const Values& values, float inverse, int8_t* to,
                                                       index_t stride, index_t groups,
                                                       int32_t (&sums)[groups_per_scale]) {
  i32x16 both[groups_per_scale] = {};
  for (index_t g = 0; g < groups; ++g) {
    const i32x16 low = to_code(values.of[2 * g] * broadcast(inverse));
    const i32x16 high = to_code(values.of[2 * g + 1] * broadcast(inverse));
    store_i8(to + g * stride, low);
    store_i8(to + g * stride + 16, high);
    both[g] = add(low, high);
  }
  store_sums(sums, both);
}

// Up to four groups with one scale.
inline __attribute__((always_inline)) void quantize_groups(const float* x, index_t count,
                                                           ActivationGroup* groups) {
  const Values values(x, count);
  const float most = values.largest();
  const index_t used = num_groups(count);
  int32_t sums[groups_per_scale];
  store_codes(values, inverse_of(most), groups->codes, sizeof(ActivationGroup), used, sums);
  for (index_t g = 0; g < used; ++g) {
    groups[g].scale = scale_of(most);
    groups[g].sum = static_cast<float>(sums[g]);
    groups[g].int8_start = -128 * sums[g];
    groups[g].int4_start[0] = groups[g].int4_start[1] = static_cast<int16_t>(-4 * sums[g]);
  }
}

void quantize_row(const float* x, index_t k, float* y, index_t y_stride) {
  auto* groups = reinterpret_cast<ActivationGroup*>(y);
  index_t first = 0;
  for (; first + quad_size <= k; first += quad_size, groups += groups_per_scale) {
    prefetch(reinterpret_cast<const float*>(groups) + y_stride, quantized_width(quad_size, false));
    quantize_groups(x + first, quad_size, groups);
  }
  if (first < k) quantize_groups(x + first, k - first, groups);
}

float largest_of(const float* x, index_t k) {
  f32x16 magnitudes[4] = {zero(), zero(), zero(), zero()};
  index_t i = 0;
  for (; i + 64 <= k; i += 64) {
    for (index_t j = 0; j < 4; ++j) magnitudes[j] = max_magnitude(magnitudes[j], load(x + i + 16 * j));
  }
  for (; i < k; i += 16) magnitudes[0] = max_magnitude(magnitudes[0], load_first(x + i, k - i));
  return largest_magnitude(max_magnitude(max_magnitude(magnitudes[0], magnitudes[1]),
                                         max_magnitude(magnitudes[2], magnitudes[3])));
}

// n of the largest 2^n <= most / part, at most most_shift.
int32_t halvings(float most, float part) {
  const float ratio = most / part;
  uint32_t bits;
  __builtin_memcpy(&bits, &ratio, sizeof bits);
  const int32_t exponent = static_cast<int32_t>(bits >> 23 & 255) - 127;
  return exponent < most_shift ? exponent : most_shift;
}

inline __attribute__((always_inline)) void quantize_quad(const float* x, index_t count, float most,
                                                         float inverse, ActivationQuad* quad) {
  const Values values(x, count);
  const int32_t drop = halvings(most, values.largest());
  int32_t sums[groups_per_scale];
  store_codes(values, inverse * static_cast<float>(1 << drop), quad->codes, group_size, groups_per_scale,
              sums);
  quad->start = -8 * (sums[0] + sums[1] + sums[2] + sums[3]);
  quad->shift = most_shift - drop;
}

void quantize_row_in_quads(const float* x, index_t k, float* y, index_t y_stride) {
  const float most = largest_of(x, k);
  const float inverse = inverse_of(most);
  auto* quad = reinterpret_cast<ActivationQuad*>(y);
  index_t first = 0;
  for (; first + quad_size <= k; first += quad_size, ++quad) {
    prefetch(reinterpret_cast<const float*>(quad) + y_stride, quantized_width(quad_size, true));
    quantize_quad(x + first, quad_size, most, inverse, quad);
  }
  if (first < k) quantize_quad(x + first, k - first, most, inverse, quad++);
  *reinterpret_cast<float*>(quad) = scale_of(most) / static_cast<float>(1 << most_shift);
}

}  // namespace

void quantize(Rows x, int64_t k, bool in_quads, Rows y, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    const float* in = x.data + row * x.stride;
    float* out = y.data + row * y.stride;
    if (in_quads) {
      quantize_row_in_quads(in, k, out, y.stride);
    } else {
      quantize_row(in, k, out, y.stride);
    }
  }
}

}  // namespace gradus::GRADUS_VARIANT
