// Everything that treats rows one by one: embedding, norms, rotary embedding, KV writes, elementwise
// arithmetic.
//
//   embed:          y[m][i] = w[id[m]][i] * scale, gathered from the packed panels
//   rms_norm:       y = x * (1 / sqrt(sum x^2 / n + eps)) * w; the sum in sixteen lanes, then their tree
//   rope:           pair (x[j], x[j + d/2]) -> (x[j] c - x[j + d/2] s, x[j + d/2] c + x[j] s), every product
//                   rounded; elements from rotary_dim on stay
//   silu_mul:       gate / (1 + exp(-gate)) * up
//   gelu_mul:       gate / (1 + exp(-2u)) * up with u = sqrt(2 / pi) (gate + 0.044715 gate^3), which is
//                   gate (1 + tanh u) / 2 * up
//   soft_cap:       cap tanh(x / cap)
//
// A fused kernel calls the very functions that the single ones are made of, so its results are theirs.
#include "half.h"
#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {

void embed_quantized(const void* weight, Format, int64_t k, const int32_t* ids, float scale, int64_t rows,
                     Rows y);

void embed(const void* weight, Format format, int64_t k, const int32_t* ids, float scale, int64_t rows,
           Rows y) {
  if (is_quantized(format)) return embed_quantized(weight, format, k, ids, scale, rows, y);
  for (index_t row = 0; row < rows; ++row) {
    const index_t first = ids[row] / panel_width * k * panel_width + ids[row] % panel_width;
    float* out = y.data + row * y.stride;
    if (format == Format::f32) {
      const float* w = static_cast<const float*>(weight) + first;
      for (index_t i = 0; i < k; ++i) out[i] = w[i * panel_width] * scale;
    } else {
      const uint16_t* w = static_cast<const uint16_t*>(weight) + first;
      for (index_t i = 0; i < k; ++i) {
        const uint16_t bits = w[i * panel_width];
        out[i] = (format == Format::f16 ? f16_to_f32(bits) : bf16_to_f32(bits)) * scale;
      }
    }
  }
}

namespace {

void norm_one(const float* x, const float* weight, float eps, index_t n, float* y) {
  f32x16 squares = zero();
  for (index_t i = 0; i < n; i += 16) {
    const f32x16 v = load_first(x + i, n - i);
    squares = fma(v, v, squares);
  }
  const f32x16 factor = broadcast(1.0f / __builtin_sqrtf(sum(squares) / static_cast<float>(n) + eps));
  for (index_t i = 0; i < n; i += 16) {
    const f32x16 normed = load_first(x + i, n - i) * factor * load_first(weight + i, n - i);
    store_first(y + i, normed, n - i);
  }
}

void add_one(const float* a, const float* b, index_t n, float* y) {
  for (index_t i = 0; i < n; i += 16)
    store_first(y + i, load_first(a + i, n - i) + load_first(b + i, n - i), n - i);
}

// x and y may be the same.
void rope_one(const float* x, const float* table, index_t rotary_dim, index_t head_dim, float* y) {
  const index_t half = rotary_dim / 2;
  for (index_t j = 0; j < half; j += 16) {
    const index_t count = half - j;
    const f32x16 c = load_first(table + j, count);
    const f32x16 s = load_first(table + half + j, count);
    const f32x16 first = load_first(x + j, count);
    const f32x16 second = load_first(x + half + j, count);
    store_first(y + j, first * c - second * s, count);
    store_first(y + half + j, second * c + first * s, count);
  }
  for (index_t i = rotary_dim; i < head_dim; ++i) y[i] = x[i];
}

struct Slot {
  index_t block;
  index_t offset;
};

// One head of one token's K: a column of its group of sixteen tokens.
void write_key(const RopeKvArgs& args, Slot slot, index_t num_kv_heads, index_t head, const float* k) {
  const index_t group = slot.offset - slot.offset % panel_width;
  const index_t first = ((slot.block * num_kv_heads + head) * args.block_size + group) * args.head_dim +
                        slot.offset % panel_width;
  if (args.format == Format::f32) {
    float* out = static_cast<float*>(args.keys) + first;
    for (index_t d = 0; d < args.head_dim; ++d) out[d * panel_width] = k[d];
    return;
  }
  uint16_t* out = static_cast<uint16_t*>(args.keys) + first;
  for (index_t d = 0; d < args.head_dim; d += 16) {
    uint16_t bits[16];
    store_f16(bits, load_first(k + d, args.head_dim - d));
    const index_t count = min_of(16, args.head_dim - d);
    for (index_t i = 0; i < count; ++i) out[(d + i) * panel_width] = bits[i];
  }
}

void write_value(const RopeKvArgs& args, Slot slot, index_t num_kv_heads, index_t head, const float* v) {
  const index_t first = ((slot.block * num_kv_heads + head) * args.block_size + slot.offset) * args.head_dim;
  if (args.format == Format::f32) {
    float* out = static_cast<float*>(args.values) + first;
    for (index_t d = 0; d < args.head_dim; ++d) out[d] = v[d];
    return;
  }
  uint16_t* out = static_cast<uint16_t*>(args.values) + first;
  for (index_t d = 0; d < args.head_dim; d += 16) {
    uint16_t bits[16];
    store_f16(bits, load_first(v + d, args.head_dim - d));
    const index_t count = min_of(16, args.head_dim - d);
    for (index_t i = 0; i < count; ++i) out[d + i] = bits[i];
  }
}

}  // namespace

void rms_norm(Rows x, const float* weight, float eps, int64_t width, int64_t segments, Rows y, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    for (index_t s = 0; s < segments; ++s) {
      norm_one(x.data + row * x.stride + s * width, weight, eps, width, y.data + row * y.stride + s * width);
    }
  }
}

void add(Rows a, Rows b, Rows y, int64_t width, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    add_one(a.data + row * a.stride, b.data + row * b.stride, width, y.data + row * y.stride);
  }
}

void add_rms_norm(Rows a, Rows b, Rows total, const float* weight, float eps, int64_t width, Rows y,
                  int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    float* both = total.data + row * total.stride;
    add_one(a.data + row * a.stride, b.data + row * b.stride, width, both);
    norm_one(both, weight, eps, width, y.data + row * y.stride);
  }
}

namespace {

f32x16 silu(f32x16 x) { return x / (broadcast(1.0f) + exp(zero() - x)); }

f32x16 gelu(f32x16 x) {
  const f32x16 cubed = x * x * x * broadcast(0.044715f);
  const f32x16 twice_u = broadcast(1.59576912160573071f) * (x + cubed);  // 2 sqrt(2 / pi)
  return x / (broadcast(1.0f) + exp(zero() - twice_u));
}

// y may be gate or up.
template <f32x16 (*activation)(f32x16)>
void gate_mul(Rows gate, Rows up, Rows y, index_t width, index_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    const float* g = gate.data + row * gate.stride;
    const float* u = up.data + row * up.stride;
    float* out = y.data + row * y.stride;
    for (index_t i = 0; i < width; i += 16) {
      const f32x16 x = load_first(g + i, width - i);
      store_first(out + i, activation(x) * load_first(u + i, width - i), width - i);
    }
  }
}

}  // namespace

void silu_mul(Rows gate, Rows up, Rows y, int64_t width, int64_t rows) {
  gate_mul<silu>(gate, up, y, width, rows);
}

void gelu_mul(Rows gate, Rows up, Rows y, int64_t width, int64_t rows) {
  gate_mul<gelu>(gate, up, y, width, rows);
}

void soft_cap(Rows x, float cap, int64_t width, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    float* values = x.data + row * x.stride;
    for (index_t i = 0; i < width; i += 16) {
      store_first(values + i, soft_capped(load_first(values + i, width - i), cap), width - i);
    }
  }
}

void rope(Rows x, Rows table, int64_t rotary_dim, int64_t head_dim, int64_t num_heads, Rows y, int64_t rows) {
  for (index_t row = 0; row < rows; ++row) {
    for (index_t h = 0; h < num_heads; ++h) {
      rope_one(x.data + row * x.stride + h * head_dim, table.data + row * table.stride, rotary_dim, head_dim,
               y.data + row * y.stride + h * head_dim);
    }
  }
}

void kv_write(const RopeKvArgs& args, int64_t num_kv_heads, int64_t row_begin, int64_t row_end) {
  for (index_t row = row_begin; row < row_end; ++row) {
    const Slot slot{args.slots[row] / args.block_size, args.slots[row] % args.block_size};
    for (index_t h = 0; h < num_kv_heads; ++h) {
      write_key(args, slot, num_kv_heads, h, args.k + row * args.k_stride + h * args.head_dim);
      write_value(args, slot, num_kv_heads, h, args.v + row * args.v_stride + h * args.head_dim);
    }
  }
}

// scratch: head_dim floats.
void rope_kv_write(const RopeKvArgs& args, int64_t row_begin, int64_t row_end, float* scratch) {
  const index_t head_dim = args.head_dim;
  for (index_t row = row_begin; row < row_end; ++row) {
    const Slot slot{args.slots[row] / args.block_size, args.slots[row] % args.block_size};
    const float* table = args.table + row * args.table_stride;
    for (index_t h = 0; h < args.q_norm.num_heads; ++h) {
      float* q = args.q + row * args.q_stride + h * head_dim;
      if (args.q_norm.weight) norm_one(q, args.q_norm.weight, args.eps, head_dim, q);
      rope_one(q, table, args.rotary_dim, head_dim, q);
    }
    for (index_t h = 0; h < args.k_norm.num_heads; ++h) {
      const float* k = args.k + row * args.k_stride + h * head_dim;
      if (args.k_norm.weight) {
        norm_one(k, args.k_norm.weight, args.eps, head_dim, scratch);
        k = scratch;
      }
      rope_one(k, table, args.rotary_dim, head_dim, scratch);
      write_key(args, slot, args.k_norm.num_heads, h, scratch);
      write_value(args, slot, args.k_norm.num_heads, h, args.v + row * args.v_stride + h * head_dim);
    }
  }
}

}  // namespace gradus::GRADUS_VARIANT
