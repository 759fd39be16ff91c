// Buffers, views, weights and constants.
#include <nanobind/stl/optional.h>

#include <algorithm>

#include "binding/binding.h"
#include "huge_pages.h"

namespace gradus {

namespace {

template <class T>
using Borrowed = nb::ndarray<nb::numpy, const T, nb::ndim<1>>;  // over memory of who gives it

void require_shape(const std::vector<int64_t>& outputs, int64_t inputs) {
  require(!outputs.empty() && inputs > 0, "a weight needs outputs and inputs");
  for (const int64_t n : outputs) require(n > 0, "a matrix needs at least one output");
}

// biases: [panels * 16], or none.
std::shared_ptr<Weight> view(const std::string& format_name, std::vector<int64_t> outputs, int64_t inputs,
                             Array1<uint8_t> data, std::optional<Array1<float>> biases) {
  const Format format = format_of(format_name);
  require_shape(outputs, inputs);
  require(reinterpret_cast<uintptr_t>(data.data()) % weight_alignment == 0, "packed weights are not aligned");
  const std::shared_ptr<const void> owner(data.data(), [data](const void*) mutable {
    const nb::gil_scoped_acquire acquire;  // the last instruction that reads the weight may go anywhere
    data = {};
  });
  auto weight = std::make_shared<Weight>(format, std::move(outputs), inputs, data.data(), owner);
  require(data.size() == weight->packed_bytes(), "packed weights have another size than their shape gives");
  if (biases) {
    require(biases->size() == static_cast<size_t>(weight->num_panels() * panel_width),
            "packed biases have another size than their shape gives");
    weight->set_biases(to_vector(*biases));
  }
  return weight;
}

// codes: [outputs][groups * 32, or 128 in int4_g128] bytes; scales and centres: [outputs][groups], the bits
// of f16.
void pack_quantized(Weight& self, size_t index, Array2<uint8_t> codes, Array2<uint16_t> scales,
                    std::optional<Array2<uint16_t>> centres, Executor& executor) {
  require(is_quantized(self.format()), "the weight's format has no codes");
  require(centres.has_value() == has_centres(self.format()), "int4 has centres, the others have none");
  require(index < self.num_matrices(), "no such matrix");
  const auto n = static_cast<size_t>(self.outputs(index));
  const auto groups = static_cast<size_t>(num_factors(self.format(), self.inputs()));
  const auto size = static_cast<size_t>(groups_per_factor(self.format()) * group_size);
  require(codes.shape(0) == n && codes.shape(1) == groups * size, "the codes have another shape");
  require(scales.shape(0) == n && scales.shape(1) == groups, "the scales have another shape");
  require(!centres || (centres->shape(0) == n && centres->shape(1) == groups),
          "the centres have another shape");
  const uint8_t largest = *std::max_element(codes.data(), codes.data() + codes.size());
  require(self.format() == Format::int8 || largest < 16, "a code does not fit into four bits");
  nb::gil_scoped_release release;
  self.pack_quantized(index, codes.data(), scales.data(), centres ? centres->data() : nullptr,
                      executor.pool());
}

void bind_weight(nb::module_& m) {
  nb::class_<Weight>(m, "Weight", "One or more matrices with the same input, packed in panels of 16 outputs.")
      .def(
          "__init__",
          [](Weight* self, const std::string& format, std::vector<int64_t> outputs, int64_t inputs) {
            require_shape(outputs, inputs);
            new (self) Weight(format_of(format), std::move(outputs), inputs);
          },
          "format"_a, "outputs"_a, "inputs"_a)
      .def_static("view", &view, "format"_a, "outputs"_a, "inputs"_a, "data"_a, "biases"_a.none(),
                  "A weight over bytes that another's `data` gave, which stay where they are.")
      .def("pack",
           [](Weight& self, size_t index, AnyMatrix source, const std::string& source_format,
              Executor& executor) {
             const Format format = format_of(source_format);
             require(!is_quantized(format), "quantized matrices are packed from their codes");
             require(index < self.num_matrices(), "no such matrix");
             require(static_cast<int64_t>(source.shape(0)) == self.outputs(index) &&
                         static_cast<int64_t>(source.shape(1)) == self.inputs() &&
                         source.itemsize() == element_bytes(format),
                     "the matrix has another shape or type than declared");
             const void* data = source.data();
             nb::gil_scoped_release release;
             self.pack(index, data, format, executor.kernels(), executor.pool());
           })
      .def("pack_quantized", &pack_quantized, "index"_a, "codes"_a, "scales"_a, "centres"_a.none(),
           "executor"_a)
      .def("set_bias",
           [](Weight& self, size_t index, Array1<float> bias) {
             require(index < self.num_matrices() && static_cast<int64_t>(bias.size()) == self.outputs(index),
                     "the bias has another shape than its matrix");
             self.set_bias(index, bias.data());
           })
      .def_prop_ro("data",
                   [](const Weight& self) {
                     return Borrowed<uint8_t>(static_cast<const uint8_t*>(self.data()),
                                              {self.packed_bytes()});
                   })
      .def_prop_ro(
          "biases",
          [](const Weight& self) { return Borrowed<float>(self.biases().data(), {self.biases().size()}); })
      .def_prop_ro("format", [](const Weight& self) { return name_of(self.format()); })
      .def_prop_ro("outputs", &Weight::all_outputs)
      .def_prop_ro("inputs", &Weight::inputs)
      .def_prop_ro("is_quantized", [](const Weight& self) { return is_quantized(self.format()); })
      .def_prop_ro(
          "takes_quads", [](const Weight& self) { return takes_quads(self.format()); },
          "Whether products read rows that `quantize` made in quads.")
      .def_prop_ro("bytes", &Weight::bytes);
  nb::class_<FloatVector>(m, "Floats", "A constant vector.")
      .def("__init__",
           [](FloatVector* self, Array1<float> values) { new (self) FloatVector{to_vector(values)}; })
      .def("__len__", &FloatVector::size);
}

}  // namespace

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
  m.def(
      "share_in_huge_pages",
      [](Array1<uint8_t> data) {
        const nb::gil_scoped_release release;
        return share_in_huge_pages(data.data(), data.size());
      },
      "Of what is resident of the data's mappings; 1 where that is not known.");
  m.def(
      "move_into_huge_pages",
      [](Array1<uint8_t> data) {
        const nb::gil_scoped_release release;
        return move_into_huge_pages(data.data(), data.size());
      },
      "Replace a file's map by a copy in huge pages while others read it; returns the bytes moved.");
  bind_weight(m);
}

}  // namespace gradus
