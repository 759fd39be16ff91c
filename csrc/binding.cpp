// The extension module: the only file that knows Python. Converts arrays, checks what Python could get wrong
// when it builds instructions, and releases the GIL while a step runs.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "cpu_features.h"
#include "errors.h"
#include "executor.h"
#include "philox.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gradus {
namespace {

template <class T>
using Array1 = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using Array2 = nb::ndarray<const T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using AnyMatrix = nb::ndarray<nb::ro, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void require(bool holds, const std::string& message) {
  if (!holds) throw SetupError(message);
}

template <class Array>
auto to_vector(const Array& array) {
  using T = std::remove_const_t<typename Array::Scalar>;
  return std::vector<T>(array.data(), array.data() + array.size());
}

// A NumPy array that owns `values`.
template <class T>
nb::object to_numpy(std::vector<T>&& values, std::initializer_list<size_t> shape) {
  auto* owned = new std::vector<T>(std::move(values));
  nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::cast(nb::ndarray<nb::numpy, T>(owned->data(), shape, owner));
}

Format format_of(const std::string& name) {
  if (name == "f32") return Format::f32;
  if (name == "bf16") return Format::bf16;
  if (name == "f16") return Format::f16;
  throw SetupError("the format is \"" + name + "\"; it must be f32, bf16 or f16");
}

Step make_step(const Array1<int32_t>& token_ids, const Array1<int32_t>& positions,
               const Array1<int64_t>& slot_mapping, const Array1<int32_t>& query_start,
               const Array1<int32_t>& context_lens, const Array2<int32_t>& block_tables,
               const Array2<int32_t>& block_copies, const Array1<int32_t>& output_rows,
               const Array1<float>& temperature, const Array1<float>& top_p, const Array1<int32_t>& top_k,
               const Array1<int64_t>& seed, const Array1<int32_t>& choice_index,
               const Array1<int32_t>& position, const Array1<int32_t>& num_logprobs, bool return_logits) {
  Step step;
  step.token_ids = to_vector(token_ids);
  step.positions = to_vector(positions);
  step.slots = to_vector(slot_mapping);
  step.query_start = to_vector(query_start);
  step.context_lens = to_vector(context_lens);
  step.block_tables = to_vector(block_tables);
  step.max_blocks = static_cast<int64_t>(block_tables.shape(1));
  step.block_copies = to_vector(block_copies);
  step.output_rows = to_vector(output_rows);
  step.return_logits = return_logits;
  if (block_tables.shape(0) != context_lens.size())
    throw StepError("block_tables and context_lens differ in sequences");
  if (block_copies.shape(1) != 2) throw StepError("block_copies is not a list of pairs");
  const size_t n = output_rows.size();
  for (const size_t size : {temperature.size(), top_p.size(), top_k.size(), seed.size(), choice_index.size(),
                            position.size(), num_logprobs.size()}) {
    if (size != n)
      throw StepError("a sampling array has " + std::to_string(size) + " entries, expected " +
                      std::to_string(n));
  }
  for (size_t i = 0; i < n; ++i) {
    step.sampling.push_back({temperature.data()[i], top_p.data()[i], top_k.data()[i], seed.data()[i],
                             choice_index.data()[i], position.data()[i], num_logprobs.data()[i]});
  }
  return step;
}

// (token_ids, num_sampled, logprobs, ranks, top_token_ids, top_logprobs, logits or None)
nb::tuple to_python(StepOutput&& out, int64_t vocab_size) {
  const size_t n = out.token_ids.size();
  const auto num_top = static_cast<size_t>(out.num_top);
  nb::object logits = nb::none();
  if (out.has_logits) logits = to_numpy(std::move(out.logits), {n, static_cast<size_t>(vocab_size)});
  return nb::make_tuple(to_numpy(std::move(out.token_ids), {n, 1}), to_numpy(std::move(out.num_sampled), {n}),
                        to_numpy(std::move(out.logprobs), {n, 1}), to_numpy(std::move(out.ranks), {n, 1}),
                        to_numpy(std::move(out.top_token_ids), {n, num_top}),
                        to_numpy(std::move(out.top_logprobs), {n, num_top}), logits);
}

void bind_memory(nb::module_& m) {
  nb::class_<Buffer>(m, "Buffer", "Zeroed floats, touched lazily.")
      .def("__init__",
           [](Buffer* self, int64_t num_floats) {
             require(num_floats > 0, "a buffer needs at least one float");
             new (self) Buffer(num_floats);
           })
      .def_prop_ro("size", &Buffer::size)
      .def("numpy", [](const std::shared_ptr<Buffer>& self) {
        auto* keep = new std::shared_ptr<Buffer>(self);
        nb::capsule owner(keep, [](void* p) noexcept { delete static_cast<std::shared_ptr<Buffer>*>(p); });
        return nb::ndarray<nb::numpy, float>(self->data(), {static_cast<size_t>(self->size())}, owner);
      });
  nb::enum_<RowSet>(m, "RowSet").value("tokens", RowSet::tokens).value("outputs", RowSet::outputs);
  nb::class_<View>(m, "View", "A column range of a buffer's rows.")
      .def(
          "__init__",
          [](View* self, std::shared_ptr<Buffer> buffer, int64_t offset, int64_t stride, int64_t width,
             RowSet rows) {
            require(offset >= 0 && width > 0 && stride >= padded(width) &&
                        offset + padded(width) <= buffer->size(),
                    "the view lies outside its buffer");
            new (self) View{std::move(buffer), offset, stride, width, rows};
          },
          "buffer"_a, "offset"_a, "stride"_a, "width"_a, "rows"_a)
      .def(
          "joined",
          [](const View& self, const View& last) {
            require(self.buffer == last.buffer && self.stride == last.stride && self.offset <= last.offset,
                    "the views do not lie side by side");
            View both = self;
            both.width = last.offset - self.offset + last.width;
            require(both.width <= self.stride, "the views do not lie side by side");
            return both;
          },
          "This view and everything up to `last`, further right in the same rows.");
}

void bind_weight(nb::module_& m) {
  nb::class_<Weight>(m, "Weight", "One or more matrices with the same input, packed in panels of 16 outputs.")
      .def(
          "__init__",
          [](Weight* self, const std::string& format, std::vector<int64_t> outputs, int64_t inputs) {
            require(!outputs.empty() && inputs > 0, "a weight needs outputs and inputs");
            for (const int64_t n : outputs) require(n > 0, "a matrix needs at least one output");
            new (self) Weight(format_of(format), std::move(outputs), inputs);
          },
          "format"_a, "outputs"_a, "inputs"_a)
      .def("pack",
           [](Weight& self, size_t index, AnyMatrix source, const std::string& source_format,
              Executor& executor) {
             const Format format = format_of(source_format);
             require(index < self.num_matrices(), "no such matrix");
             require(static_cast<int64_t>(source.shape(0)) == self.outputs(index) &&
                         static_cast<int64_t>(source.shape(1)) == self.inputs() &&
                         source.itemsize() == element_bytes(format),
                     "the matrix has another shape or type than declared");
             const void* data = source.data();
             nb::gil_scoped_release release;
             self.pack(index, data, format, executor.pool());
           })
      .def("set_bias",
           [](Weight& self, size_t index, Array1<float> bias) {
             require(index < self.num_matrices() && static_cast<int64_t>(bias.size()) == self.outputs(index),
                     "the bias has another shape than its matrix");
             self.set_bias(index, bias.data());
           })
      .def_prop_ro("bytes", &Weight::bytes);
  nb::class_<FloatVector>(m, "Floats", "A constant vector.")
      .def("__init__",
           [](FloatVector* self, Array1<float> values) { new (self) FloatVector{to_vector(values)}; })
      .def("__len__", &FloatVector::size);
}

void require_width(const View& view, int64_t width) {
  require(view.width == width,
          "a view is " + std::to_string(view.width) + " wide, expected " + std::to_string(width));
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
  m.def("linear", [](View x, WeightPtr w, size_t first, size_t last, View out) {
    require(first < last && last <= w->num_matrices(), "no such matrices");
    require_width(x, w->inputs());
    const int64_t begin = w->first_panel(first);
    const int64_t end = w->first_panel(last);
    require(padded(out.width) == (end - begin) * panel_width, "the output is not as wide as the matrices");
    return Instruction(Linear{x, w, begin, end, out});
  });
  m.def("rms_norm", [](View x, Floats w, float eps, View out) {
    require(w->size() > 0 && x.width % w->size() == 0, "the norm's weight does not divide the width");
    require_width(out, x.width);
    return Instruction(RmsNorm{x, w, eps, w->size(), out});
  });
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
  m.def("silu_mul", [](View gate, View up, View out) {
    require_width(gate, out.width);
    require_width(up, out.width);
    return Instruction(SiluMul{gate, up, out});
  });
  m.def("gelu_mul", [](View gate, View up, View out) {
    require_width(gate, out.width);
    require_width(up, out.width);
    return Instruction(GeluMul{gate, up, out});
  });
  m.def("add", [](View a, View b, View out) {
    require_width(a, out.width);
    require_width(b, out.width);
    return Instruction(Add{a, b, out});
  });
  m.def("add_rms_norm", [](View a, View b, Floats w, float eps, View sum, View out) {
    for (const View& view : {a, b, sum, out}) require_width(view, w->size());
    return Instruction(AddRmsNorm{a, b, sum, w, eps, out});
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

// Instructions that depend on the cache or the vocabulary are made by the executor that has them.
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
          [](Executor& self, View q, int64_t layer, float scale, bool blocked, View out, int64_t window,
             float soft_cap) {
            require(layer >= 0 && layer < self.cache().shape().num_layers, "no such layer");
            require_width(q, self.shape().num_heads * self.cache().shape().head_dim);
            require_width(out, q.width);
            require(q.rows == RowSet::tokens && out.rows == RowSet::tokens, "attention runs on all tokens");
            require(window >= 0 && soft_cap >= 0, "a window and a soft cap are positive, or 0 for none");
            return Instruction(Attention{q, layer, scale, blocked, out, window, soft_cap});
          },
          "q"_a, "layer"_a, "scale"_a, "blocked"_a, "out"_a, "window"_a = 0, "soft_cap"_a = 0.0f)
      .def("experts",
           [](Executor& self, View x, WeightPtr router, WeightPtr gate_up, WeightPtr down, int64_t top_k,
              bool renormalize, View out) {
             require_experts(x, *router, *gate_up, *down, top_k);
             require_width(out, x.width);
             require(out.rows == x.rows, "experts keep the rows that they read");
             const Experts experts{x, router, gate_up, down, top_k, renormalize, out};
             self.reserve(experts);
             return Instruction(experts);
           })
      .def(
          "lm_head_sample",
          [](Executor& self, View x, WeightPtr w, float soft_cap) {
            require_width(x, w->inputs());
            require(w->num_matrices() == 1 && w->outputs(0) == self.shape().vocab_size,
                    "lm_head does not give one logit per token of the vocabulary");
            require(x.rows == RowSet::outputs, "logits are computed for selected rows");
            require(soft_cap >= 0, "a soft cap is positive, or 0 for none");
            return Instruction(LmHeadSample{x, w, soft_cap});
          },
          "x"_a, "weight"_a, "soft_cap"_a = 0.0f);
}

void bind_executor(nb::module_& m) {
  nb::class_<Step>(m, "Step",
                   "One step's arguments; arrays as in gradus.batch.Batch, of exactly those types.")
      .def(
          "__init__",
          [](Step* self, Array1<int32_t> token_ids, Array1<int32_t> positions, Array1<int64_t> slot_mapping,
             Array1<int32_t> query_start, Array1<int32_t> context_lens, Array2<int32_t> block_tables,
             Array2<int32_t> block_copies, Array1<int32_t> output_rows, Array1<float> temperature,
             Array1<float> top_p, Array1<int32_t> top_k, Array1<int64_t> seed, Array1<int32_t> choice_index,
             Array1<int32_t> position, Array1<int32_t> num_logprobs, bool return_logits) {
            new (self) Step(make_step(token_ids, positions, slot_mapping, query_start, context_lens,
                                      block_tables, block_copies, output_rows, temperature, top_p, top_k,
                                      seed, choice_index, position, num_logprobs, return_logits));
          },
          "token_ids"_a.noconvert(), "positions"_a.noconvert(), "slot_mapping"_a.noconvert(),
          "query_start"_a.noconvert(), "context_lens"_a.noconvert(), "block_tables"_a.noconvert(),
          "block_copies"_a.noconvert(), "output_rows"_a.noconvert(), "temperature"_a.noconvert(),
          "top_p"_a.noconvert(), "top_k"_a.noconvert(), "seed"_a.noconvert(), "choice_index"_a.noconvert(),
          "position"_a.noconvert(), "num_logprobs"_a.noconvert(), "return_logits"_a);
  nb::class_<Executor> executor(m, "Executor", "Threads, KV cache and scratch; runs instructions on steps.");
  executor
      .def(
          "__init__",
          [](Executor* self, const std::string& cpu_variant, int num_threads, const std::string& kv_format,
             int64_t num_layers, int64_t num_blocks, int64_t block_size, int64_t num_heads,
             int64_t num_kv_heads, int64_t head_dim, int64_t vocab_size, int64_t max_rows,
             int64_t max_model_len) {
            require(num_threads >= 1 && num_threads <= 1024, "num_threads must be 1 to 1024");
            require(num_kv_heads > 0 && num_heads > 0 && num_heads % num_kv_heads == 0,
                    "num_heads must be a multiple of num_kv_heads");
            require(vocab_size > 0 && max_rows > 0 && max_model_len > 0, "sizes must be positive");
            const CacheShape cache{format_of(kv_format), num_layers,   num_blocks,
                                   block_size,           num_kv_heads, head_dim};
            new (self) Executor(select_kernels(cpu_variant), num_threads, cache,
                                {num_heads, vocab_size, max_rows, max_model_len});
          },
          nb::kw_only(), "cpu_variant"_a, "num_threads"_a, "kv_format"_a, "num_layers"_a, "num_blocks"_a,
          "block_size"_a, "num_heads"_a, "num_kv_heads"_a, "head_dim"_a, "vocab_size"_a, "max_rows"_a,
          "max_model_len"_a)
      .def_prop_ro("cpu_variant", [](const Executor& self) { return std::string(self.kernels().name); })
      .def_prop_ro("kv_bytes", [](const Executor& self) { return self.cache().bytes(); })
      .def_prop_ro("scratch_bytes", &Executor::scratch_bytes)
      .def("begin", [](Executor& self, const Step& step) { self.begin(step); })
      .def("execute", &Executor::execute, nb::call_guard<nb::gil_scoped_release>())
      .def("end", [](Executor& self) { return to_python(self.end(), self.shape().vocab_size); })
      .def("run", [](Executor& self, const Program& program, const Step& step) {
        StepOutput output;
        {
          nb::gil_scoped_release release;
          output = self.run(program, step);
        }
        return to_python(std::move(output), self.shape().vocab_size);
      });
  bind_cache_instructions(executor);
}

}  // namespace
}  // namespace gradus

NB_MODULE(_native, m) {
  using namespace gradus;
  m.doc() = "The native CPU backend's kernels and program executor.";
  nb::exception<StepError>(m, "StepError", PyExc_RuntimeError);
  nb::exception<SetupError>(m, "SetupError", PyExc_ValueError);
  m.def("available_variants", &available_variants, "Kernel variants that this CPU can run, best first.");
  m.def(
      "parallel_sum",
      [](int num_threads, int64_t size, int64_t grain, int64_t failing) {
        ThreadPool pool(num_threads);
        std::atomic<int64_t> sum{0};
        pool.parallel_for(size, grain, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) {
            if (i == failing) throw StepError("item " + std::to_string(i) + " failed");
            sum += i;
          }
        });
        return sum.load();
      },
      "The sum of 0 .. size by a thread pool, for tests; the item `failing` throws.", "num_threads"_a,
      "size"_a, "grain"_a, "failing"_a = -1, nb::call_guard<nb::gil_scoped_release>());
  m.def("uniform_draw", &uniform_draw, "seed"_a, "choice_index"_a, "position"_a);
  bind_memory(m);
  bind_weight(m);
  bind_instructions(m);
  bind_executor(m);
}
