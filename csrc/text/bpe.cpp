#include "text/bpe.h"

#include <algorithm>
#include <queue>
#include <stdexcept>

namespace gradus {
namespace {

constexpr TokenId no_token = ~TokenId{0};
constexpr Merge empty_slot{no_token, no_token, 0, 0};

size_t first_slot(TokenId left, TokenId right, size_t num_slots) {
  const uint64_t key = uint64_t{left} << 32 | right;
  const uint64_t mixed = (key ^ key >> 29) * 0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio
  return (mixed ^ mixed >> 32) & (num_slots - 1);
}

bool is_pair(const Merge& merge, TokenId left, TokenId right) {
  return merge.left == left && merge.right == right;
}

// One token of a word, in the order of the text; a token that was merged away is skipped by its neighbours.
struct Symbol {
  TokenId token;
  int64_t previous;
  int64_t next;
};

struct Candidate {
  const Merge* merge;
  int64_t position;  // of the left token

  // For a priority queue, whose top is the greatest: the lowest rank, then the leftmost.
  bool operator<(const Candidate& other) const {
    return merge->rank != other.merge->rank ? merge->rank > other.merge->rank : position > other.position;
  }
};

}  // namespace

std::vector<Merge> build_merge_table(const std::vector<Merge>& merges) {
  size_t num_slots = 2;
  while (num_slots < merges.size() + merges.size() / 2) num_slots *= 2;
  std::vector<Merge> slots(num_slots, empty_slot);
  for (const Merge& merge : merges) {
    size_t i = first_slot(merge.left, merge.right, num_slots);
    while (slots[i].left != no_token && !is_pair(slots[i], merge.left, merge.right))
      i = (i + 1) & (num_slots - 1);
    slots[i] = merge;
  }
  return slots;
}

MergeTable::MergeTable(const Merge* slots, size_t num_slots) : slots_(slots), num_slots_(num_slots) {
  if (num_slots == 0 || (num_slots & (num_slots - 1)) != 0)
    throw std::invalid_argument("a merge table has a power of two of slots, not " +
                                std::to_string(num_slots));
}

void MergeTable::add_whole_word(const std::vector<TokenId>& word, TokenId token) {
  whole_words_[std::u32string(word.begin(), word.end())] = token;
}

const Merge* MergeTable::find(TokenId left, TokenId right) const {
  size_t i = first_slot(left, right, num_slots_);
  for (size_t probes = 0; probes < num_slots_ && slots_[i].left != no_token; ++probes) {
    if (is_pair(slots_[i], left, right)) return &slots_[i];
    i = (i + 1) & (num_slots_ - 1);
  }
  return nullptr;
}

// Every merge makes at most two new pairs, so the queue sees fewer than 3 * size candidates.
void MergeTable::merge(const TokenId* word, size_t size, std::vector<TokenId>& out) const {
  if (!whole_words_.empty()) {
    const auto found = whole_words_.find(std::u32string(word, word + size));
    if (found != whole_words_.end()) {
      out.push_back(found->second);
      return;
    }
  }
  const auto count = static_cast<int64_t>(size);
  std::vector<Symbol> symbols(size);
  for (int64_t i = 0; i < count; ++i) symbols[i] = {word[i], i - 1, i + 1};

  std::priority_queue<Candidate> queue;
  const auto consider = [&](int64_t i) {
    if (i < 0 || symbols[i].next == count) return;
    const Merge* merge = find(symbols[i].token, symbols[symbols[i].next].token);
    if (merge != nullptr) queue.push({merge, i});
  };
  for (int64_t i = 0; i < count; ++i) consider(i);
  while (!queue.empty()) {
    const auto [merge, i] = queue.top();
    queue.pop();
    Symbol& left = symbols[i];
    // A candidate is out of date once one of its tokens has become part of another.
    if (left.token != merge->left || left.next == count || symbols[left.next].token != merge->right) continue;
    symbols[left.next].token = no_token;
    left.token = merge->token;
    left.next = symbols[left.next].next;
    if (left.next < count) symbols[left.next].previous = i;
    consider(left.previous);
    consider(i);
  }
  for (int64_t i = 0; i < count; i = symbols[i].next) out.push_back(symbols[i].token);
}

}  // namespace gradus
