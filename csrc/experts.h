// What a mixture of experts needs besides its instruction: room for a tile of rows, and the pieces of work.
#pragma once

#include <memory>
#include <vector>

#include "instructions.h"
#include "kernels/kernels.h"

namespace gradus {

constexpr int64_t experts_tile_rows = 512;  // rows that are routed at a time; bounds the memory

// A matrix product of the rows that chose one expert.
struct ExpertGemm {
  GemmArgs args;
  int64_t first_panel, last_panel;
};

// Buffers for one tile; a (row, rank) pair is an assignment, `top_k` of them for each row.
struct ExpertsSpace {
  std::unique_ptr<Buffer> logits;    // [rows][experts], then probabilities
  std::unique_ptr<Buffer> gathered;  // [assignments][hidden], sorted by expert
  std::unique_ptr<Buffer> gate_up;   // [assignments][gate, up]
  std::unique_ptr<Buffer> outputs;   // [assignments][hidden]
  std::vector<int32_t> experts;      // [rows][top_k], likeliest first
  std::vector<float> shares;         // [rows][top_k]
  std::vector<int64_t> places;       // [rows][top_k], where an assignment lies among the sorted ones
  std::vector<int64_t> begins;       // [experts + 1], where an expert's assignments begin

  void reserve(const Experts& op, int64_t max_rows);
  int64_t size() const;  // floats
};

}  // namespace gradus
