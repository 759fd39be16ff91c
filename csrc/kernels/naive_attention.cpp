// paged_attention_f32 / f16, naive: the same formula with nothing clever, one head at a time, all scores at
// once.
//
//   s[t] = scale * sum over d of q[d] * k[t][d];  e[t] = exp(s[t] - max s);  out[d] = sum over t of e[t]
//   v[t][d] / sum e;  t from the window's first token on, s soft-capped before the exponential
//
// The off path of blocked attention, and readable as its specification.
#include <cmath>

#include "half.h"
#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {

void attention_naive(const AttentionArgs& args, const AttentionItem& item, float* scratch);

namespace {

float element(const CacheView& cache, const void* base, index_t index) {
  if (cache.format == Format::f16) return f16_to_f32(static_cast<const uint16_t*>(base)[index]);
  return static_cast<const float*>(base)[index];
}

// Tokens before this one in the cache, counted in heads: block by block, kv head by kv head.
index_t slot_of(const CacheView& cache, const AttentionItem& item, index_t token) {
  const index_t block = item.block_table[token / cache.block_size];
  return (block * cache.num_kv_heads + item.kv_head) * cache.block_size + token % cache.block_size;
}

void one_query(const AttentionArgs& args, const AttentionItem& item, const float* q, float* out,
               index_t context, float* scores) {
  const CacheView& cache = args.cache;
  const index_t head_dim = cache.head_dim;
  const index_t begin = args.window > 0 && context > args.window ? context - args.window : 0;
  float largest_score = -__builtin_inff();
  for (index_t t = begin; t < context; ++t) {
    const index_t slot = slot_of(cache, item, t);
    const index_t group = slot - slot % panel_width;  // K of sixteen tokens is [head_dim][16]
    float dot = 0;
    for (index_t d = 0; d < head_dim; ++d) {
      dot += q[d] * element(cache, cache.keys, group * head_dim + d * panel_width + slot % panel_width);
    }
    scores[t] = dot * args.scale;
    if (args.soft_cap > 0) scores[t] = ::tanhf(scores[t] / args.soft_cap) * args.soft_cap;
    largest_score = scores[t] > largest_score ? scores[t] : largest_score;
  }
  float total = 0;
  for (index_t t = begin; t < context; ++t) {
    scores[t] = ::expf(scores[t] - largest_score);
    total += scores[t];
  }
  for (index_t d = 0; d < head_dim; ++d) out[d] = 0;
  for (index_t t = begin; t < context; ++t) {
    const index_t slot = slot_of(cache, item, t);
    for (index_t d = 0; d < head_dim; ++d)
      out[d] += scores[t] * element(cache, cache.values, slot * head_dim + d);
  }
  for (index_t d = 0; d < head_dim; ++d) out[d] /= total;
}

}  // namespace

void attention_naive(const AttentionArgs& args, const AttentionItem& item, float* scratch) {
  const index_t head_dim = args.cache.head_dim;
  for (index_t row = item.row_begin; row < item.row_end; ++row) {
    for (index_t g = 0; g < args.num_groups; ++g) {
      const index_t offset = (item.kv_head * args.num_groups + g) * head_dim;
      one_query(args, item, args.q + row * args.q_stride + offset, args.out + row * args.out_stride + offset,
                item.first_position + (row - item.row_begin) + 1, scratch);
    }
  }
}

}  // namespace gradus::GRADUS_VARIANT
