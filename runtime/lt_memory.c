/* See lt_memory.h. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include "lt_memory.h"
#include <stdint.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

void lt_huge_pages(void *block, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t large = (uintptr_t)4 << 20, page = 65536;      /* a multiple of every page size there is */
  uintptr_t from = ((uintptr_t)block + page - 1) / page * page, to = ((uintptr_t)block + bytes) / page * page;
  if (bytes >= large) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);      /* refused: nothing is lost */
#else
  (void)block;
  (void)bytes;
#endif
}

void *lt_alloc(size_t bytes) {
  void *p = NULL;
  if (bytes > SIZE_MAX - 64 || posix_memalign(&p, 64, bytes + 64)) return NULL;
  lt_huge_pages(p, bytes);
  return p;
}
