// Into and out of groups of 32 quantized numbers.
//
//   quantize:  x_scale = max |x| / 127; q = x * (127 / max |x|), rounded to nearest even; per row and group.
//              A row becomes its ActivationGroups. Missing elements of the last group are zeros. A group
//              below 1e-30 is zero. A group with a NaN or an infinity gets a scale of NaN, so that it stays
//              visible.
//   unpack:    int8: scale * c; int4: scale * (c - 8) + centre. The product is exact in f32, the sum is rounded
//   once.
#include "half.h"
#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {

void unpack_quantized(const uint8_t* group, Format format, float* w) {
  const bool is_int4 = format == Format::int4;
  const auto* factors =
      reinterpret_cast<const uint16_t*>(group + panel_width * group_size / (is_int4 ? 2 : 1));
  const f32x16 scale = load_f16(factors);
  const f32x16 centre = is_int4 ? load_f16(factors + panel_width) : zero();
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

void quantize_group(const float* x, index_t count, ActivationGroup* group) {
  const f32x16 a = load_first(x, count);
  const f32x16 b = load_first(x + 16, count < 16 ? 0 : count - 16);
  const f32x16 magnitudes = max(max(a, zero() - a), max(b, zero() - b));
  const float most = largest(magnitudes);
  const float is_finite = sum((a - a) + (b - b));  // 0, or NaN
  const f32x16 factor = broadcast(most > 1e-30f ? 127.0f / most : 0.0f);
  const f32x16 low = broadcast(-127.0f), high = broadcast(127.0f);
  const f32x16 qa = min(max(round_nearest(a * factor), low), high);  // NaN becomes -127
  const f32x16 qb = min(max(round_nearest(b * factor), low), high);
  store_i8(group->codes, qa);
  store_i8(group->codes + 16, qb);
  const float code_sum = sum(qa + qb);
  group->scale = (most > 1e-30f ? most / 127.0f : 0.0f) + is_finite;
  group->sum = group->scale * code_sum;
  group->int8_start = -128 * static_cast<int32_t>(code_sum);
  group->int4_start[0] = group->int4_start[1] = static_cast<int16_t>(-4.0f * code_sum);
}

}  // namespace

void quantize(Rows x, int64_t k, Rows y, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    const float* in = x.data + row * x.stride;
    auto* groups = reinterpret_cast<ActivationGroup*>(y.data + row * y.stride);
    for (index_t first = 0; first < k; first += group_size)
      quantize_group(in + first, min_of(group_size, k - first), groups + first / group_size);
  }
}

}  // namespace gradus::GRADUS_VARIANT
