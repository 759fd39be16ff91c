// Edits of some rows' logits before a token is chosen. Mirrors LogitEdits of gradus/batch.py, which says what
// they do; gradus/backends/sampling.py has the arithmetic, which is repeated here operation by operation.
#pragma once

#include <cstdint>
#include <vector>

namespace gradus {

struct LogitEdits {
  std::vector<int32_t> rows;
  std::vector<int32_t> mask_index;
  std::vector<uint32_t> masks;  // [num_masks][mask_words]
  int64_t num_masks = 0;
  int64_t mask_words = 0;
  std::vector<int32_t> bias_start;
  std::vector<int32_t> bias_ids;
  std::vector<float> biases;
  std::vector<int32_t> seen_start;
  std::vector<int32_t> seen_ids;
  std::vector<int32_t> seen_counts;
  std::vector<float> repetition_penalty;
  std::vector<float> frequency_penalty;
  std::vector<float> presence_penalty;

  int64_t num_edited() const { return static_cast<int64_t>(rows.size()); }

  // Throws StepError unless everything is in range and consistent.
  void check(int64_t num_outputs, int64_t vocab_size) const;

  // Edits the logits of one row, [vocab_size].
  void apply(int64_t edit, float* logits, int64_t vocab_size) const;
};

}  // namespace gradus
