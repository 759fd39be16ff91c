#include "huge_pages.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

namespace gradus {

namespace {

constexpr uintptr_t huge_page = uintptr_t{2} << 20;
constexpr uintptr_t piece = 8 * huge_page;

uintptr_t address_of(const void* data) { return reinterpret_cast<uintptr_t>(data); }
uintptr_t round_up(uintptr_t address) { return (address + huge_page - 1) / huge_page * huge_page; }

}  // namespace

double share_in_huge_pages(const void* data, size_t bytes) {
  std::ifstream maps("/proc/self/smaps");
  std::string line, name;
  uint64_t resident = 0, huge = 0;
  bool is_inside = false;
  while (std::getline(maps, line)) {
    uintptr_t begin, end;
    char dash;
    uint64_t kibibytes;
    std::istringstream fields(line);
    if (fields >> std::hex >> begin >> dash >> end && dash == '-') {
      is_inside = begin < address_of(data) + bytes && address_of(data) < end;
    } else if (is_inside && std::istringstream(line) >> name >> kibibytes) {
      if (name == "Rss:") resident += kibibytes;
      if (name == "AnonHugePages:" || name == "FilePmdMapped:" || name == "ShmemPmdMapped:")
        huge += kibibytes;
    }
  }
  return resident == 0 ? 1.0 : static_cast<double>(huge) / static_cast<double>(resident);
}

size_t move_into_huge_pages(const void* data, size_t bytes) {
#if defined(MADV_HUGEPAGE) && defined(MREMAP_FIXED)
  const uintptr_t begin = round_up(address_of(data));
  const uintptr_t end = (address_of(data) + bytes) / huge_page * huge_page;
  if (end <= begin) return 0;
  // Copies are made at the places of one reservation that correspond to theirs, so that in the end they are
  // one mapping again.
  const size_t reserved = end - begin + huge_page;
  void* reservation =
      mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reservation == MAP_FAILED) return 0;
  madvise(reservation, reserved, MADV_HUGEPAGE);
  const uintptr_t copies = round_up(address_of(reservation));
  size_t moved = 0;
  while (moved < end - begin) {
    const size_t size = std::min(piece, end - begin - moved);
    auto* copy = reinterpret_cast<void*>(copies + moved);
    auto* original = reinterpret_cast<void*>(begin + moved);
    std::memcpy(copy, original, size);
    if (mprotect(copy, size, PROT_READ) != 0) break;
    // To those who read it the piece is there all the time: a fault meanwhile waits until the new one is.
    if (mremap(copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, original) == MAP_FAILED) break;
    moved += size;
  }
  munmap(reservation, copies - address_of(reservation));
  munmap(reinterpret_cast<void*>(copies + moved), address_of(reservation) + reserved - copies - moved);
  return moved;
#else
  return 0;
#endif
}

}  // namespace gradus
