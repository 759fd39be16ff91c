// K and V as pairs of bf16, the way that attention in bf16 multiplies them, and what is read next from
// memory.
//
// Pairs are two neighbours in a sum: of K two dimensions of a token, of V two tokens of a dimension.
#pragma once

#include "kernels/attention_context.h"
#include "kernels/simd_bf16.h"

namespace gradus::avx512 {
namespace {

constexpr index_t pairs_per_group = panel_width / 2;
constexpr index_t pairs_per_partition = partition_size / 2;
constexpr index_t slice = 2 * panel_width;  // dimensions of V that lie side by side

// Pair i of a group's K: lanes are tokens.
inline __attribute__((always_inline)) bf16x32 k_pair(const uint16_t* k, index_t i) {
  return interleaved(load_f16(k + 2 * i * panel_width), load_f16(k + (2 * i + 1) * panel_width));
}

// Pair i of a group's V from a dimension on: lanes are dimensions. A token after the context's last is 0,
// whatever the cache holds there.
inline __attribute__((always_inline)) bf16x32 v_pair(const uint16_t* v, index_t i, index_t head_dim,
                                                     bool is_whole) {
  return interleaved(load_f16(v + 2 * i * head_dim),
                     is_whole ? load_f16(v + (2 * i + 1) * head_dim) : zero());
}

// A partition's pairs, made once for all tiles of a sweep.
struct Pairs {
  uint32_t* k;  // [groups / 2][head_dim / 2][2 groups][16 tokens]
  uint32_t* v;  // [slices][pairs_per_partition][32 dimensions]
  index_t head_dim;

  const uint32_t* k_of_group(index_t group) const {
    return k + (group / 2 * head_dim + group % 2) * panel_width;
  }
  const uint32_t* v_of_slice(index_t d) const { return v + d / slice * pairs_per_partition * slice; }

  void convert(const Partition<uint16_t>& from) const {
    for (index_t g = from.first_group; g < from.num_groups; ++g) {
      convert_k(from.groups[g].k, g);
      convert_v(from.groups[g].v, g, min_of(panel_width, from.num_tokens - g * panel_width));
    }
  }

  void convert_k(const uint16_t* from, index_t group) const {
    uint32_t* to = k + (group / 2 * head_dim + group % 2) * panel_width;
    for (index_t i = 0; i < head_dim / 2; ++i) store_pairs(to + i * 2 * panel_width, k_pair(from, i));
  }

  void convert_v(const uint16_t* from, index_t group, index_t num_tokens) const {
    for (index_t i = 0; 2 * i < num_tokens; ++i) {
      uint32_t* to = v + (group * pairs_per_group + i) * slice;
      for (index_t d = 0; d < head_dim; d += panel_width) {
        store_pairs(to + d / slice * pairs_per_partition * slice + d % slice,
                    v_pair(from + d, i, head_dim, 2 * i + 1 < num_tokens));
      }
    }
  }
};

// Part `part` of `num_parts` of a group's K or V.
inline void prefetch_part(const uint16_t* group, index_t head_dim, index_t part, index_t num_parts) {
  const index_t bytes = head_dim * panel_width * 2;
  const auto* p = reinterpret_cast<const char*>(group);
  for (index_t at = bytes * part / num_parts; at < bytes * (part + 1) / num_parts; at += 64)
    __builtin_prefetch(p + at, 0, 2);
}

// K and V of a partition, prefetched a few lines at a time, so that they arrive while tiles compute.
struct Ahead {
  const Partition<uint16_t>* partition = nullptr;
  index_t lines_per_group = 1;
  index_t line = 0;
  index_t num_lines = 0;
  index_t lines_at_a_time = 0;

  Ahead() = default;
  Ahead(const Partition<uint16_t>& of, index_t head_dim, index_t num_times)
      : partition(&of),
        lines_per_group((head_dim * panel_width * 2 + 63) / 64),
        num_lines((of.num_groups - of.first_group) * 2 * lines_per_group),
        lines_at_a_time((num_lines + num_times - 1) / num_times) {}

  void prefetch() {
    for (const index_t end = min_of(line + lines_at_a_time, num_lines); line < end; ++line) {
      const index_t part = line / lines_per_group;
      const auto& group = partition->groups[partition->first_group + part / 2];
      __builtin_prefetch((part % 2 ? group.v : group.k) + line % lines_per_group * 32, 0, 2);
    }
  }
};

}  // namespace
}  // namespace gradus::avx512
