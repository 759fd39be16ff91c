// Into and out of groups of 32 quantized numbers.
//
//   quantize:  x_scale = max |x| / 127; q = x * (127 / max |x|), rounded to nearest even; per row and 128.
//              A row becomes its ActivationGroups, in place too: they are stored where their numbers, or
//              earlier ones, were. Missing elements of the last group are zeros. Four groups below 1e-30 are
//              zero. Four with a NaN or an infinity get a scale of NaN, so that it stays visible.
//   unpack:    int8: scale * c; 4 bits: scale * (c - 8), and + centre in int4. The product is exact in f32,
//              the sum is rounded once.
#include "half.h"
#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {

void unpack_quantized(const uint8_t* group, const uint8_t* factors, Format format, float* w) {
  const bool is_int4 = has_nibbles(format);
  const auto* halves = reinterpret_cast<const uint16_t*>(factors);
  const f32x16 scale = load_f16(halves);
  const f32x16 centre = has_centres(format) ? load_f16(halves + panel_width) : zero();
  for (index_t i = 0; i < group_size; ++i) {
    const index_t block = i / 4;
    const uint8_t* bytes = group + (is_int4 ? block / 2 : block) * 4 * panel_width + i % 4;
    float codes[panel_width];
    for (index_t lane = 0; lane < panel_width; ++lane) {
      const uint8_t byte = bytes[4 * lane];
      codes[lane] = is_int4 ? static_cast<float>((byte >> block % 2 * 4 & 15) - 8)
                            : static_cast<float>(static_cast<int8_t>(byte));
    }
    store(w + i * panel_width, fma(load(codes), scale, centre));
  }
}

void embed_quantized(const void* weight, Format format, int64_t k, const int32_t* ids, float scale,
                     int64_t rows, Rows y) {
  const index_t groups = num_groups(k), panel_bytes = quantized_panel_bytes(format, k);
  float w[group_size * panel_width];
  for (index_t row = 0; row < rows; ++row) {
    const auto* panel = static_cast<const uint8_t*>(weight) + ids[row] / panel_width * panel_bytes;
    const index_t lane = ids[row] % panel_width;
    for (index_t g = 0; g < groups; ++g) {
      unpack_quantized(panel + codes_at(format, g), panel + factors_at(format, g, groups), format, w);
      const index_t first = g * group_size;
      for (index_t i = 0; i < min_of(group_size, k - first); ++i)
        y.data[row * y.stride + first + i] = w[i * panel_width + lane] * scale;
    }
  }
}

namespace {

struct Scale {
  float value;
  f32x16 inverse;
};

// Of numbers in `count` registers.
Scale scale_of(const f32x16* x, index_t count) {
  f32x16 magnitudes = zero();
  for (index_t i = 0; i < count; ++i) magnitudes = max_magnitude(magnitudes, x[i]);
  const float most = largest_magnitude(magnitudes);
  const float nothing = most - most;  // 0, or NaN
  return {(most > 1e-30f ? most / 127.0f : 0.0f) + nothing, broadcast(most > 1e-30f ? 127.0f / most : 0.0f)};
}

// Up to four groups with one scale.
inline __attribute__((always_inline)) void quantize_groups(const float* x, index_t count,
                                                           ActivationGroup* groups) {
  constexpr index_t registers = groups_per_scale * group_size / 16;
  const index_t used = num_groups(count);
  f32x16 values[registers];  // all of them before the first is overwritten
  for (index_t i = 0; i < 2 * used; ++i)
    values[i] = 16 * i < count ? load_first(x + 16 * i, count - 16 * i) : zero();
  const Scale scale = scale_of(values, 2 * used);
  i32x16 both[groups_per_scale] = {};
  for (index_t g = 0; g < used; ++g) {
    const i32x16 low = to_code(values[2 * g] * scale.inverse);
    const i32x16 high = to_code(values[2 * g + 1] * scale.inverse);
    store_i8(groups[g].codes, low);
    store_i8(groups[g].codes + 16, high);
    both[g] = add(low, high);
  }
  int32_t sums[groups_per_scale];
  store_sums(sums, both);
  const int32_t sum_of_all = sums[0] + sums[1] + sums[2] + sums[3];
  for (index_t g = 0; g < used; ++g) {
    groups[g].scale = scale.value;
    groups[g].sum = static_cast<float>(sums[g]);
    groups[g].int8_start = -128 * sums[g];
    groups[g].int4_start[0] = groups[g].int4_start[1] = static_cast<int16_t>(-4 * sums[g]);
    groups[g].g128_start = -8 * sum_of_all;
  }
}

}  // namespace

void quantize(Rows x, int64_t k, Rows y, int64_t rows) {
  constexpr index_t step = groups_per_scale * group_size;
  for (index_t row = 0; row < rows; ++row) {
    const float* in = x.data + row * x.stride;
    auto* groups = reinterpret_cast<ActivationGroup*>(y.data + row * y.stride);
    index_t first = 0;
    for (; first + step <= k; first += step, groups += groups_per_scale) {
      prefetch(reinterpret_cast<const float*>(groups) + y.stride, quantized_width(step));
      quantize_groups(in + first, step, groups);
    }
    if (first < k) quantize_groups(in + first, k - first, groups);
  }
}

}  // namespace gradus::GRADUS_VARIANT
