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

void unpack_quantized(const uint8_t* group, Format format, float* w) {
  const bool is_int4 = has_nibbles(format);
  const auto* factors = reinterpret_cast<const uint16_t*>(group + code_bytes(format));
  const f32x16 scale = load_f16(factors);
  const f32x16 centre = has_centres(format) ? load_f16(factors + panel_width) : zero();
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
  const index_t stride = group_bytes(format);
  float group[group_size * panel_width];
  for (index_t row = 0; row < rows; ++row) {
    const auto* w = static_cast<const uint8_t*>(weight) + ids[row] / panel_width * num_groups(k) * stride;
    const index_t lane = ids[row] % panel_width;
    for (index_t first = 0; first < k; first += group_size, w += stride) {
      unpack_quantized(w, format, group);
      for (index_t i = 0; i < min_of(group_size, k - first); ++i)
        y.data[row * y.stride + first + i] = group[i * panel_width + lane] * scale;
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
  f32x16 magnitudes = zero(), nothing = zero();  // the latter 0, or NaN
  for (index_t i = 0; i < count; ++i) {
    magnitudes = max(magnitudes, max(x[i], zero() - x[i]));
    nothing = nothing + (x[i] - x[i]);
  }
  const float most = largest(magnitudes);
  return {(most > 1e-30f ? most / 127.0f : 0.0f) + sum(nothing),
          broadcast(most > 1e-30f ? 127.0f / most : 0.0f)};
}

inline f32x16 code_of(f32x16 x, const Scale& scale) {
  const f32x16 code = round_nearest(x * scale.inverse);
  return min(max(code, broadcast(-127.0f)), broadcast(127.0f));  // NaN becomes -127
}

void quantize_group(f32x16 a, f32x16 b, const Scale& scale, ActivationGroup* group) {
  const f32x16 low = code_of(a, scale), high = code_of(b, scale);
  store_i8(group->codes, low);
  store_i8(group->codes + 16, high);
  group->sum = sum(low + high);
  group->scale = scale.value;
  group->int8_start = -128 * static_cast<int32_t>(group->sum);
  group->int4_start[0] = group->int4_start[1] = static_cast<int16_t>(-4.0f * group->sum);
}

// Up to four groups with one scale.
void quantize_groups(const float* x, index_t count, ActivationGroup* groups) {
  constexpr index_t registers = groups_per_scale * group_size / 16;
  const index_t used = num_groups(count) * group_size / 16;
  f32x16 values[registers];  // all of them before the first is overwritten
  for (index_t i = 0; i < used; ++i)
    values[i] = 16 * i < count ? load_first(x + 16 * i, count - 16 * i) : zero();
  const Scale scale = scale_of(values, used);
  for (index_t i = 0; i < used; i += 2) quantize_group(values[i], values[i + 1], scale, groups + i / 2);
}

}  // namespace

void quantize(Rows x, int64_t k, Rows y, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    const float* in = x.data + row * x.stride;
    auto* groups = reinterpret_cast<ActivationGroup*>(y.data + row * y.stride);
    constexpr index_t step = groups_per_scale * group_size;
    for (index_t first = 0; first < k; first += step)
      quantize_groups(in + first, min_of(step, k - first), groups + first / group_size);
  }
}

}  // namespace gradus::GRADUS_VARIANT
