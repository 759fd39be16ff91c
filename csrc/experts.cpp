// Mixture of experts as one instruction:
//
//   p = softmax(router x);  the top_k largest p, ties to the lower index, are the row's experts e_0, e_1, ...
//   y = sum over ranks j, in order, of share_j * down_e(silu(gate_e x) * up_e x), share_j = p_j (/ sum p_j)
//
// Rows are sorted by expert, so that each expert's weights are read once for all rows that chose it. A
// product's rows do not see each other and a row's sum goes by its own ranks, so a row's result does not
// depend on which other rows there are. With quantized experts, x and silu(gate_e x) * up_e x are quantized
// row by row before their products; the router reads x itself.
#include "experts.h"

#include <algorithm>
#include <cmath>

#include "executor.h"

namespace gradus {

namespace {

constexpr int64_t panels_per_piece = 16;

void grow(std::unique_ptr<Buffer>& buffer, int64_t num_floats) {
  if (!buffer || buffer->size() < num_floats) buffer = std::make_unique<Buffer>(num_floats);
}

// Rows of a power of two of bytes would all fall into the same few cache sets.
int64_t stride_of(int64_t panels) {
  const int64_t stride = panels * panel_width;
  return stride % 256 == 0 ? stride + panel_width : stride;
}

// Rows of `width` floats, or of `k` in 8 bits where those are longer.
int64_t stride_for(int64_t width, int64_t k, const Weight& reader) {
  const int64_t quantized = quantized_width(k, takes_quads(reader.format()));
  return stride_of(padded(std::max(width, quantized)) / panel_width);
}
int64_t hidden_stride(const Experts& op) { return stride_for(op.x.width, op.x.width, *op.gate_up); }
int64_t gate_up_stride(const Experts& op) {
  return stride_for(op.gate_up->first_panel(2) * panel_width, op.down->inputs(), *op.down);
}

void softmax(float* x, int64_t n) {
  const float largest = *std::max_element(x, x + n);
  float total = 0;
  for (int64_t i = 0; i < n; ++i) total += x[i] = std::exp(x[i] - largest);
  for (int64_t i = 0; i < n; ++i) x[i] /= total;
}

// The row's experts and their shares; NaN is taken like any other value.
void choose(float* logits, const Experts& op, int32_t* experts, float* shares) {
  const auto num_experts = static_cast<int32_t>(op.router->outputs(0));
  softmax(logits, num_experts);
  float total = 0;
  for (int64_t rank = 0; rank < op.top_k; ++rank) {
    int32_t best = -1;
    for (int32_t e = 0; e < num_experts; ++e) {
      const bool is_taken = std::find(experts, experts + rank, e) != experts + rank;
      if (!is_taken && (best < 0 || logits[e] > logits[best])) best = e;
    }
    experts[rank] = best;
    total += shares[rank] = logits[best];
  }
  if (!op.renormalize) return;
  for (int64_t rank = 0; rank < op.top_k; ++rank) shares[rank] /= total;
}

// Counting sort of the assignments by expert.
void sort_by_expert(ExpertsSpace& space, int64_t num_assignments, int64_t num_experts) {
  space.begins.assign(num_experts + 1, 0);
  for (int64_t i = 0; i < num_assignments; ++i) ++space.begins[space.experts[i] + 1];
  for (int64_t e = 0; e < num_experts; ++e) space.begins[e + 1] += space.begins[e];
  std::vector<int64_t> next(space.begins.begin(), space.begins.end() - 1);
  for (int64_t i = 0; i < num_assignments; ++i) space.places[i] = next[space.experts[i]]++;
}

// Every chosen expert's product with its `matrices` matrices, reading x and writing y at its assignments.
std::vector<ExpertGemm> expert_gemms(const ExpertsSpace& space, const Weight& weight, int64_t matrices,
                                     Rows x, bool quantized_x, Rows y) {
  std::vector<ExpertGemm> gemms;
  for (size_t e = 0; e + 1 < space.begins.size(); ++e) {
    const int64_t begin = space.begins[e];
    const int64_t rows = space.begins[e + 1] - begin;
    if (rows == 0) continue;
    const int64_t first = weight.first_panel(e * matrices);
    const int64_t last = weight.first_panel((e + 1) * matrices);
    // The kernel counts panels from the weight's first, so y is moved back by the panels before this
    // expert's.
    const GemmArgs args{x.data + begin * x.stride,
                        x.stride,
                        rows,
                        weight.inputs(),
                        weight.data(),
                        weight.format(),
                        weight.bias(),
                        y.data + begin * y.stride - first * panel_width,
                        y.stride,
                        quantized_x};
    for (int64_t panel = first; panel < last; panel += panels_per_piece) {
      gemms.push_back({args, panel, std::min(panel + panels_per_piece, last)});
    }
  }
  return gemms;
}

}  // namespace

void ExpertsSpace::reserve(const Experts& op, int64_t max_rows) {
  const int64_t rows = std::min(max_rows, experts_tile_rows);
  const int64_t assignments = rows * op.top_k;
  grow(logits, rows * stride_of(op.router->num_panels()));
  grow(gathered, assignments * hidden_stride(op));
  grow(gate_up, assignments * gate_up_stride(op));
  grow(outputs, assignments * hidden_stride(op));
  const auto n = std::max(experts.size(), static_cast<size_t>(assignments));
  experts.resize(n);
  shares.resize(n);
  places.resize(n);
}

int64_t ExpertsSpace::size() const {
  int64_t total = 0;
  for (const auto* buffer : {&logits, &gathered, &gate_up, &outputs})
    total += *buffer ? (*buffer)->size() : 0;
  return total;
}

void Executor::gemm(const std::vector<ExpertGemm>& gemms) {
  pool_.parallel_for(static_cast<int64_t>(gemms.size()), 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      kernels_.gemm(gemms[i].args, gemms[i].first_panel, gemms[i].last_panel, scratch(thread));
    }
  });
}

void Executor::perform(const Experts& op) {
  require_room(op.x);
  const int64_t num_rows = rows_of(op.out);
  for (int64_t first = 0; first < num_rows; first += experts_tile_rows) {
    experts_tile(op, first, std::min(experts_tile_rows, num_rows - first));
  }
}

void Executor::experts_tile(const Experts& op, int64_t first_row, int64_t num_rows) {
  ExpertsSpace& space = experts_;
  const int64_t num_experts = op.router->outputs(0);
  const int64_t width = op.x.width;
  const int64_t logits_stride = stride_of(op.router->num_panels());
  const Rows x = rows(op.x, first_row);
  gemm({x.data, x.stride, num_rows, width, op.router->data(), op.router->format(), op.router->bias(),
        space.logits->data(), logits_stride, false},
       0, op.router->num_panels());
  for_rows(num_rows, num_experts * op.top_k, [&](int64_t begin, int64_t count, int) {
    for (int64_t row = begin; row < begin + count; ++row) {
      choose(space.logits->data() + row * logits_stride, op, space.experts.data() + row * op.top_k,
             space.shares.data() + row * op.top_k);
    }
  });
  const int64_t num_assignments = num_rows * op.top_k;
  sort_by_expert(space, num_assignments, num_experts);
  const Rows gathered{space.gathered->data(), hidden_stride(op)};
  for_rows(num_assignments, width, [&](int64_t begin, int64_t count, int) {
    for (int64_t i = begin; i < begin + count; ++i) {
      const Rows from{x.data + i / op.top_k * x.stride, x.stride};
      const Rows to{gathered.data + space.places[i] * gathered.stride, gathered.stride};
      if (op.quantize_x) {
        kernels_.quantize(from, width, takes_quads(op.gate_up->format()), to, 1);
      } else {
        std::copy_n(from.data, width, to.data);
      }
    }
  });
  const Rows gate{space.gate_up->data(), gate_up_stride(op)};
  const Rows up{gate.data + op.gate_up->first_panel(1) * panel_width, gate.stride};
  gemm(expert_gemms(space, *op.gate_up, 2, gathered, op.quantize_x, gate));
  const int64_t inner = op.down->inputs();
  for_rows(num_assignments, inner, [&](int64_t i, int64_t count, int) {
    const Rows activated{gate.data + i * gate.stride, gate.stride};
    kernels_.silu_mul(activated, {up.data + i * up.stride, up.stride}, activated, inner, count);
    if (op.quantize_x) kernels_.quantize(activated, inner, takes_quads(op.down->format()), activated, count);
  });
  const Rows outputs{space.outputs->data(), hidden_stride(op)};
  gemm(expert_gemms(space, *op.down, 1, gate, op.quantize_x, outputs));
  for_rows(num_rows, width * op.top_k, [&](int64_t begin, int64_t count, int) {
    for (int64_t row = begin; row < begin + count; ++row) {
      float* y = rows(op.out, first_row + row).data;
      std::fill_n(y, width, 0.0f);
      for (int64_t i = row * op.top_k; i < (row + 1) * op.top_k; ++i) {
        const float* output = outputs.data + space.places[i] * outputs.stride;
        for (int64_t d = 0; d < width; ++d) y[d] += space.shares[i] * output[d];
      }
    }
  });
}

}  // namespace gradus
