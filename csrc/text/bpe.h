// Byte-pair encoding over token ids: which pairs merge, in which order, and what they become.
// Knows no text: its caller has cut it into words and each word into its smallest tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace gradus {

using TokenId = uint32_t;

// "left and right become token"; lower ranks first, equal ranks from left to right.
struct Merge {
  TokenId left;
  TokenId right;
  uint32_t rank;
  TokenId token;
};

// A hash table as it lies in a file, open addressing, at most two thirds full: no work is needed to use one.
// Of merges with the same pair the last counts.
std::vector<Merge> build_merge_table(const std::vector<Merge>& merges);

class MergeTable {
 public:
  // The slots stay the caller's. Any content is safe: what no build_merge_table wrote only merges wrongly.
  MergeTable(const Merge* slots, size_t num_slots);

  // Tokens that are whole words, by the word's smallest tokens: they are found without merging.
  void add_whole_word(const std::vector<TokenId>& word, TokenId token);

  // Appends to `out` what becomes of one word.
  void merge(const TokenId* word, size_t size, std::vector<TokenId>& out) const;

 private:
  const Merge* find(TokenId left, TokenId right) const;

  const Merge* slots_;
  size_t num_slots_;  // a power of two
  std::unordered_map<std::u32string, TokenId> whole_words_;
};

}  // namespace gradus
