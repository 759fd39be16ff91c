// What every kernel of attention shares: where a context lies in the cache, and what is known of a query.
#pragma once

#include "kernels/simd.h"

namespace gradus::GRADUS_VARIANT {
namespace {

constexpr index_t groups_per_partition = partition_size / panel_width;

// Where sixteen consecutive tokens of the context lie in the cache.
template <class T>
struct Group {
  const T* k;  // [head_dim][16]
  const T* v;  // [16][head_dim]
};

// Tokens begin .. begin + num_tokens of a context; the groups before first_group are not read.
template <class T>
struct Partition {
  index_t begin;
  index_t num_tokens;
  index_t first_group;
  index_t num_groups;
  Group<T> groups[groups_per_partition];
};

// The partition with token `first`, of a context of `context` tokens.
template <class T>
void locate(const CacheView& cache, const AttentionItem& item, index_t first, index_t context,
            Partition<T>& partition) {
  partition.begin = first - first % partition_size;
  partition.num_tokens = min_of(partition_size, context - partition.begin);
  partition.first_group = first % partition_size / panel_width;
  partition.num_groups = (partition.num_tokens + panel_width - 1) / panel_width;
  for (index_t group = partition.first_group; group < partition.num_groups; ++group) {
    const index_t token = partition.begin + group * panel_width;
    const index_t block = item.block_table[token / cache.block_size];
    const index_t at =
        (block * cache.num_kv_heads + item.kv_head) * cache.block_size + token % cache.block_size;
    partition.groups[group] = {static_cast<const T*>(cache.keys) + at * cache.head_dim,
                               static_cast<const T*>(cache.values) + at * cache.head_dim};
  }
}

index_t first_token(const AttentionArgs& args, index_t position) {
  return args.window > 0 && position >= args.window ? position + 1 - args.window : 0;
}

// exp(x) for x <= 0 to about 1 ulp; from 2^-126 on, which is as good as 0 beside the 1 of the largest score.
inline __attribute__((always_inline)) f32x16 exp_not_positive(f32x16 x) {
  f32x16 n;
  const f32x16 p = reduced_exp_minus_one(max(broadcast(-87.0f), x), &n);
  return (p + broadcast(1.0f)) * power_of_two(n);
}

// What a tile's queries together see of a partition: groups, the last of which may end early.
struct Seen {
  index_t begin_group, end_group, num_tokens;
};

// A query and its result, of head_dim floats.
struct Place {
  const float* q = nullptr;
  float* out = nullptr;

  void prefetch(index_t head_dim) {
    if (!q) return;
    for (index_t d = 0; d < head_dim; d += panel_width) {
      __builtin_prefetch(q + d, 0, 2);
      __builtin_prefetch(out + d, 1, 2);
    }
    *this = {};
  }
};

// One query and its running softmax.
struct Query {
  Place place;
  Place next;     // of the next item, if there is one that is not prefetched yet
  float* o;       // [head_dim]
  index_t first;  // token that it sees
  index_t position;
  float max;
  float sum;
};

}  // namespace
}  // namespace gradus::GRADUS_VARIANT
