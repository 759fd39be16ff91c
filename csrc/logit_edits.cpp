#include "logit_edits.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "errors.h"

namespace gradus {

namespace {

void require(bool holds, const std::string& message) {
  if (!holds) throw StepError(message);
}

void require_length(const char* name, size_t found, size_t expected) {
  require(found == expected, std::string(name) + " has " + std::to_string(found) + " entries, expected " +
                                 std::to_string(expected));
}

void require_ids(const char* name, const std::vector<int32_t>& ids, int64_t end) {
  for (const int32_t id : ids) {
    require(id >= 0 && id < end,
            std::string(name) + " has " + std::to_string(id) + ", not in 0 to " + std::to_string(end - 1));
  }
}

// Offsets of ragged rows: from 0 to the flat array's length, never falling.
void require_offsets(const char* name, const std::vector<int32_t>& start, size_t num_rows, size_t length) {
  require_length(name, start.size(), num_rows + 1);
  require(start.front() == 0 && static_cast<size_t>(start.back()) == length &&
              std::is_sorted(start.begin(), start.end()),
          std::string(name) + " does not run from 0 to " + std::to_string(length));
}

}  // namespace

void LogitEdits::check(int64_t num_outputs, int64_t vocab_size) const {
  const size_t n = rows.size();
  require_ids("edits.rows", rows, num_outputs);
  require(std::adjacent_find(rows.begin(), rows.end(), std::greater_equal<>()) == rows.end(),
          "edits.rows are not ascending");
  require_length("edits.mask_index", mask_index.size(), n);
  for (const int32_t mask : mask_index) {
    require(mask >= -1 && mask < num_masks, "edits.mask_index has " + std::to_string(mask) + ", with " +
                                                std::to_string(num_masks) + " masks");
  }
  require(num_masks == 0 || mask_words == (vocab_size + 31) / 32,
          "edits.masks have " + std::to_string(mask_words) + " words each");
  require_offsets("edits.bias_start", bias_start, n, bias_ids.size());
  require_length("edits.biases", biases.size(), bias_ids.size());
  require_ids("edits.bias_ids", bias_ids, vocab_size);
  require_offsets("edits.seen_start", seen_start, n, seen_ids.size());
  require_length("edits.seen_counts", seen_counts.size(), seen_ids.size());
  require_ids("edits.seen_ids", seen_ids, vocab_size);
  require_length("edits.repetition_penalty", repetition_penalty.size(), n);
  require_length("edits.frequency_penalty", frequency_penalty.size(), n);
  require_length("edits.presence_penalty", presence_penalty.size(), n);
}

// Leaves the tokens whose bits are set. In a grammar's masks most words are all ones or all zeros.
static void forbid_others(const uint32_t* mask, float* logits, int64_t vocab_size) {
  for (int64_t begin = 0; begin < vocab_size; begin += 32) {
    const uint32_t allowed = mask[begin / 32];
    const int64_t end = std::min<int64_t>(begin + 32, vocab_size);
    if (allowed == 0) {
      std::fill(logits + begin, logits + end, -INFINITY);
    } else if (allowed != UINT32_MAX) {
      for (int64_t i = begin; i < end; ++i) {
        if (!(allowed >> (i - begin) & 1)) logits[i] = -INFINITY;
      }
    }
  }
}

void LogitEdits::apply(int64_t edit, float* logits, int64_t vocab_size) const {
  if (mask_index[edit] >= 0) forbid_others(masks.data() + mask_index[edit] * mask_words, logits, vocab_size);
  for (int64_t i = bias_start[edit]; i < bias_start[edit + 1]; ++i) logits[bias_ids[i]] += biases[i];
  const float repetition = repetition_penalty[edit];
  for (int64_t i = seen_start[edit]; i < seen_start[edit + 1]; ++i) {
    float& logit = logits[seen_ids[i]];
    logit = logit > 0 ? logit / repetition : logit * repetition;
    logit -= frequency_penalty[edit] * static_cast<float>(seen_counts[i]);
    logit -= presence_penalty[edit] * (seen_counts[i] > 0 ? 1.0f : 0.0f);
  }
}

}  // namespace gradus
