// What attention is going to read next from memory, fetched while it computes.
#pragma once

#include "kernels/attention_context.h"

namespace gradus::avx512 {
namespace {

// Part `part` of `num_parts` of a group's K or V.
inline void prefetch_part(const uint16_t* group, index_t head_dim, index_t part, index_t num_parts) {
  const index_t bytes = head_dim * panel_width * 2;
  const auto* p = reinterpret_cast<const char*>(group);
  for (index_t at = bytes * part / num_parts; at < bytes * (part + 1) / num_parts; at += 64)
    __builtin_prefetch(p + at, 0, 2);
}

// K and V of a partition's groups, prefetched a few lines at a time, so that they arrive while tiles compute.
struct Ahead {
  const Group<uint16_t>* group = nullptr;
  const Group<uint16_t>* end = nullptr;
  bool is_value = false;
  index_t line = 0;  // of the group's K or V
  index_t num_lines = 0;
  index_t lines_at_a_time = 0;

  Ahead() = default;
  // For so many calls of `prefetch`.
  Ahead(const Partition<uint16_t>& of, index_t head_dim, index_t num_calls)
      : group(of.groups + of.first_group),
        end(of.groups + of.num_groups),
        num_lines((head_dim * panel_width * 2 + 63) / 64) {
    const index_t num_parts = 2 * (of.num_groups - of.first_group);
    const index_t calls = num_parts > 0 && num_calls > num_parts ? num_calls / num_parts : 1;
    lines_at_a_time = (num_lines + calls - 1) / calls;
  }

  void prefetch() {
    if (group >= end) return;
    const auto* from = reinterpret_cast<const char*>(is_value ? group->v : group->k) + line * 64;
    const index_t count = min_of(lines_at_a_time, num_lines - line);
    for (index_t i = 0; i < count; ++i) __builtin_prefetch(from + i * 64, 0, 2);
    line += count;
    if (line < num_lines) return;
    line = 0;
    group += is_value;
    is_value = !is_value;
  }
};

}  // namespace
}  // namespace gradus::avx512
