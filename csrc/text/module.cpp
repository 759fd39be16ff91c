// The extension module of gradus.text: the only file here that knows Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <stdexcept>
#include <vector>

#include "text/bpe.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace gradus {
namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using WholeWords = std::vector<std::pair<std::vector<TokenId>, TokenId>>;

// A table over somebody else's memory, which it keeps alive.
class MappedTable {
 public:
  explicit MappedTable(Bytes bytes, const WholeWords& whole_words)
      : bytes_(std::move(bytes)), table_(slots(bytes_), bytes_.size() / sizeof(Merge)) {
    for (const auto& [word, token] : whole_words) table_.add_whole_word(word, token);
  }

  const MergeTable& table() const { return table_; }

 private:
  static const Merge* slots(const Bytes& bytes) {
    const void* data = bytes.data();
    if (bytes.size() % sizeof(Merge) != 0 || reinterpret_cast<uintptr_t>(data) % alignof(Merge) != 0)
      throw std::invalid_argument("a merge table has slots of 16 bytes, aligned to 4");
    return static_cast<const Merge*>(data);
  }

  Bytes bytes_;
  MergeTable table_;
};

nb::bytes build_table(const std::vector<std::array<uint32_t, 4>>& merges) {
  std::vector<Merge> parsed;
  parsed.reserve(merges.size());
  for (const auto& [left, right, rank, token] : merges) parsed.push_back({left, right, rank, token});
  const std::vector<Merge> slots = build_merge_table(parsed);
  return nb::bytes(reinterpret_cast<const char*>(slots.data()), slots.size() * sizeof(Merge));
}

// None is no word: such a token stands alone.
std::vector<int64_t> word_numbers(const nb::list& words) {
  std::vector<int64_t> numbers;
  numbers.reserve(words.size());
  for (nb::handle word : words) numbers.push_back(word.is_none() ? -1 : nb::cast<int64_t>(word));
  return numbers;
}

std::vector<TokenId> merge(const MappedTable& self, const std::vector<TokenId>& tokens,
                           const nb::list& words) {
  if (words.size() != tokens.size()) throw std::invalid_argument("there must be one word number per token");
  const std::vector<int64_t> numbers = word_numbers(words);
  std::vector<TokenId> out;
  out.reserve(tokens.size());
  nb::gil_scoped_release release;
  for (size_t begin = 0, end; begin < tokens.size(); begin = end) {
    end = begin + 1;
    while (end < tokens.size() && numbers[end] == numbers[begin] && numbers[begin] >= 0) ++end;
    self.table().merge(&tokens[begin], end - begin, out);
  }
  return out;
}

}  // namespace
}  // namespace gradus

NB_MODULE(_bpe, m) {
  using namespace gradus;
  m.doc() = "Byte-pair encoding over token ids.";
  m.def("build_table", &build_table,
        "The bytes of a MergeTable of (left, right, rank, token): left and right become token, lower ranks "
        "first, equal ranks from left to right. Of merges with the same pair the last counts.",
        "merges"_a);
  nb::class_<MappedTable>(m, "MergeTable", "Merges in a buffer that build_table wrote.")
      .def(nb::init<Bytes, const WholeWords&>(), "table"_a, "whole_words"_a)
      .def("merge", &merge,
           "What becomes of tokens; words[i] is the number of the word that token i belongs to, or None.",
           "tokens"_a, "words"_a);
}
