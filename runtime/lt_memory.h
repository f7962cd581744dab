/* Memory for weights, states and arenas. Where these are larger than the caches, pages of 4 KiB cost some per cent of a
 * call: each is looked up again every time, and no prefetcher of the hardware goes on from one to the next. */
#ifndef LT_MEMORY_H
#define LT_MEMORY_H
#include <stddef.h>

/* 64 bytes aligned and 64 more than asked for, large blocks in huge pages where the system has some; free() it. NULL:
 * no memory. */
void *lt_alloc(size_t bytes);
/* Asks for huge pages in a block of malloc or mmap that nobody has touched yet. Only Linux is asked. */
void lt_huge_pages(void *block, size_t bytes);
#endif
