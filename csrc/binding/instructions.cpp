// Makers of instructions, named like the operations. They check widths; the executor checks rows.
#include "binding/binding.h"
#include "cpu_features.h"

namespace gradus {

namespace {

void require_width(const View& view, int64_t width) {
  require(view.width == width,
          "a view is " + std::to_string(view.width) + " wide, expected " + std::to_string(width));
}

// x is what the weight reads: its inputs in f32, or quantized.
void require_input(const View& x, const Weight& w, bool quantized_x) {
  require(!quantized_x || is_quantized(w.format()), "only quantized weights read quantized rows");
  require_width(x, quantized_x ? quantized_width(w.inputs(), takes_quads(w.format())) : w.inputs());
}

void require_heads(const View& view, int64_t head_dim) {
  require(head_dim > 0 && head_dim % 2 == 0 && view.width % head_dim == 0,
          "the width is not a multiple of an even head_dim");
}

void require_layer(const Executor& executor, const View& k, const View& v, int64_t layer) {
  const CacheShape& shape = executor.cache().shape();
  require(layer >= 0 && layer < shape.num_layers, "no such layer");
  require_width(k, shape.num_kv_heads * shape.head_dim);
  require_width(v, shape.num_kv_heads * shape.head_dim);
}

AttentionKernel attention_kernel(const Executor& executor, const std::string& name) {
  if (name == "naive") return AttentionKernel::naive;
  if (name == "blocked") return AttentionKernel::blocked;
  require(name == "bf16" || name == "int8",
          "attention is \"" + name + "\"; it is int8, bf16, blocked or naive");
  require(has_bf16_attention(executor.kernels()),
          "this CPU, or this variant, has no attention in bf16, which int8 needs too");
  require(executor.cache().shape().format == Format::f16, "attention in " + name + " reads an f16 cache");
  return name == "bf16" ? AttentionKernel::bf16 : AttentionKernel::int8;
}

void require_experts(const View& x, const Weight& router, const Weight& gate_up, const Weight& down,
                     int64_t top_k) {
  require(router.num_matrices() == 1, "a router is one matrix");
  const auto num_experts = static_cast<size_t>(router.outputs(0));
  require(gate_up.num_matrices() == 2 * num_experts && down.num_matrices() == num_experts,
          "the router chooses among another number of experts");
  require(top_k > 0 && top_k <= router.outputs(0), "a row cannot choose so many experts");
  require_width(x, router.inputs());
  require(gate_up.inputs() == x.width, "an expert reads rows of another width");
  for (size_t i = 0; i < num_experts; ++i) {
    require(gate_up.outputs(2 * i) == down.inputs() && gate_up.outputs(2 * i + 1) == down.inputs() &&
                down.outputs(i) == x.width,
            "the experts' matrices do not fit each other");
  }
}

RmsNorm make_rms_norm(const View& x, const Floats& w, float eps, const View& out) {
  require(w->size() > 0 && x.width % w->size() == 0, "the norm's weight does not divide the width");
  require_width(out, x.width);
  return {x, w, eps, w->size(), out};
}

AddRmsNorm make_add_rms_norm(const View& a, const View& b, const Floats& w, float eps, const View& sum,
                             const View& out) {
  for (const View& view : {a, b, sum, out}) require_width(view, w->size());
  return {a, b, sum, w, eps, out};
}

template <class Operation>
Operation make_gated(const View& gate, const View& up, const View& out) {
  require_width(gate, out.width);
  require_width(up, out.width);
  return {gate, up, out};
}

// The result of an operation on rows like those of `input`, which exists only until it is quantized.
View without_buffer(const View& input) { return {nullptr, 0, 0, input.width, input.rows}; }

template <class Operation>
Instruction quantized(Executor& executor, const Operation& operation, const View& out, bool in_quads) {
  require_width(out, quantized_width(operation.out.width, in_quads));
  executor.reserve_row(operation.out.width);
  return Quantized<Operation>{operation, out, in_quads};
}

}  // namespace

void bind_instructions(nb::module_& m) {
  nb::class_<Instruction>(m, "Instruction",
                          "One operation with its views; made by the functions named like operations.");
  m.def(
      "embed",
      [](WeightPtr w, View out, float scale) {
        require_width(out, w->inputs());
        return Instruction(Embed{w, out, scale});
      },
      "weight"_a, "out"_a, "scale"_a = 1.0f);
  m.def(
      "linear",
      [](View x, WeightPtr w, size_t first, size_t last, View out, bool quantized_x) {
        require(first < last && last <= w->num_matrices(), "no such matrices");
        require_input(x, *w, quantized_x);
        const int64_t begin = w->first_panel(first);
        const int64_t end = w->first_panel(last);
        require(padded(out.width) == (end - begin) * panel_width,
                "the output is not as wide as the matrices");
        return Instruction(Linear{x, w, begin, end, out, quantized_x});
      },
      "x"_a, "weight"_a, "first"_a, "last"_a, "out"_a, "quantized_x"_a = false);
  m.def(
      "quantize",
      [](View x, bool in_quads, View out) {
        require_width(out, quantized_width(x.width, in_quads));
        return Instruction(Quantize{x, out, in_quads});
      },
      "x"_a, "in_quads"_a, "out"_a);
  m.def("quantized_width", &quantized_width, "k"_a, "in_quads"_a);
  m.def("rms_norm",
        [](View x, Floats w, float eps, View out) { return Instruction(make_rms_norm(x, w, eps, out)); });
  m.def(
      "rope_table",
      [](Floats frequencies, View out, float magnitude) {
        require_width(out, 2 * frequencies->size());
        return Instruction(RopeTable{frequencies, out, magnitude});
      },
      "frequencies"_a, "out"_a, "magnitude"_a = 1.0f);
  m.def("rope", [](View x, View table, View out, int64_t head_dim) {
    require_heads(x, head_dim);
    require(table.width <= head_dim, "the rope table is wider than a head");
    require_width(out, x.width);
    return Instruction(RopeHeads{x, table, head_dim, out});
  });
  m.def("silu_mul",
        [](View gate, View up, View out) { return Instruction(make_gated<SiluMul>(gate, up, out)); });
  m.def("gelu_mul",
        [](View gate, View up, View out) { return Instruction(make_gated<GeluMul>(gate, up, out)); });
  m.def("add", [](View a, View b, View out) {
    require_width(a, out.width);
    require_width(b, out.width);
    return Instruction(Add{a, b, out});
  });
  m.def("add_rms_norm", [](View a, View b, Floats w, float eps, View sum, View out) {
    return Instruction(make_add_rms_norm(a, b, w, eps, sum, out));
  });
  m.def("select_rows", [](View x, View out) {
    require_width(x, out.width);
    require(x.rows == RowSet::tokens && out.rows == RowSet::outputs,
            "rows are selected from tokens to outputs");
    return Instruction(SelectRows{x, out});
  });
  nb::class_<Program>(m, "Program", "Instructions in the order in which they run.")
      .def(nb::init<>())
      .def("append", [](Program& self, const Instruction& i) { self.instructions.push_back(i); })
      .def("__len__", [](const Program& self) { return self.instructions.size(); });
}

void bind_quantized_instructions(nb::class_<Executor>& executor) {
  executor
      .def("rms_norm_quantize",
           [](Executor& self, View x, Floats w, float eps, bool in_quads, View out) {
             return quantized(self, make_rms_norm(x, w, eps, without_buffer(x)), out, in_quads);
           })
      .def("add_rms_norm_quantize",
           [](Executor& self, View a, View b, Floats w, float eps, bool in_quads, View sum, View out) {
             return quantized(self, make_add_rms_norm(a, b, w, eps, sum, without_buffer(a)), out, in_quads);
           })
      .def("silu_mul_quantize",
           [](Executor& self, View gate, View up, bool in_quads, View out) {
             return quantized(self, make_gated<SiluMul>(gate, up, without_buffer(gate)), out, in_quads);
           })
      .def("gelu_mul_quantize", [](Executor& self, View gate, View up, bool in_quads, View out) {
        return quantized(self, make_gated<GeluMul>(gate, up, without_buffer(gate)), out, in_quads);
      });
}

void bind_cache_instructions(nb::class_<Executor>& executor) {
  executor
      .def("kv_write",
           [](Executor& self, View k, View v, int64_t layer) {
             require_layer(self, k, v, layer);
             return Instruction(KvWrite{k, v, layer});
           })
      .def(
          "rope_kv_write",
          [](Executor& self, View q, View k, View v, View table, Floats q_weight, Floats k_weight, float eps,
             int64_t layer) {
            const int64_t head_dim = self.cache().shape().head_dim;
            require_layer(self, k, v, layer);
            require_heads(q, head_dim);
            require(table.width <= head_dim, "the rope table is wider than a head");
            for (const Floats& w : {q_weight, k_weight}) {
              require(!w || w->size() == head_dim, "a head norm's weight is not as long as a head");
            }
            return Instruction(RopeKvWrite{q, k, v, table, q_weight, k_weight, eps, head_dim, layer});
          },
          "q"_a, "k"_a, "v"_a, "table"_a, "q_weight"_a.none(), "k_weight"_a.none(), "eps"_a, "layer"_a)
      .def(
          "attention",
          [](Executor& self, View q, int64_t layer, float scale, const std::string& kernel, View out,
             int64_t window, float soft_cap) {
            require(layer >= 0 && layer < self.cache().shape().num_layers, "no such layer");
            require_width(q, self.shape().num_heads * self.cache().shape().head_dim);
            require_width(out, q.width);
            require(q.rows == out.rows, "attention has a result for each of its queries");
            require(window >= 0 && soft_cap >= 0, "a window and a soft cap are positive, or 0 for none");
            return Instruction(
                Attention{q, layer, scale, attention_kernel(self, kernel), out, window, soft_cap});
          },
          "q"_a, "layer"_a, "scale"_a, "kernel"_a, "out"_a, "window"_a = 0, "soft_cap"_a = 0.0f)
      .def("experts",
           [](Executor& self, View x, WeightPtr router, WeightPtr gate_up, WeightPtr down, int64_t top_k,
              bool renormalize, bool quantize_x, View out) {
             require_experts(x, *router, *gate_up, *down, top_k);
             require(!quantize_x || (is_quantized(gate_up->format()) && is_quantized(down->format())),
                     "quantized rows need quantized experts");
             require_width(out, x.width);
             require(out.rows == x.rows, "experts keep the rows that they read");
             const Experts experts{x, router, gate_up, down, top_k, renormalize, quantize_x, out};
             self.reserve(experts);
             return Instruction(experts);
           })
      .def(
          "lm_head_sample",
          [](Executor& self, View x, WeightPtr w, float soft_cap, bool quantized_x) {
            require_input(x, *w, quantized_x);
            require(w->num_matrices() == 1 && w->outputs(0) == self.shape().vocab_size,
                    "lm_head does not give one logit per token of the vocabulary");
            require(x.rows == RowSet::outputs, "logits are computed for selected rows");
            require(soft_cap >= 0, "a soft cap is positive, or 0 for none");
            return Instruction(LmHeadSample{x, w, soft_cap, quantized_x});
          },
          "x"_a, "weight"_a, "soft_cap"_a = 0.0f, "quantized_x"_a = false);
}

}  // namespace gradus
