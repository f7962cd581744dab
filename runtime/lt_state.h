/* State blocks and checkpoints: the block of a network that trains (parameters, optimizer, statistics, counters), read
 * by its own table, and files of it. C99 and POSIX; needs lt_file.c.
 *
 * A block (made by PREFIX_init; numbers as the machine stores them, little-endian):
 *   0    magic "LATHESTA", u32 version 1, u32 header bytes 64, u64 layout hash, u64 block bytes, u32 tensors, zeros
 *   64   per tensor 192 bytes: char name[96], char dtype[8], u32 role, u32 rank, i64 dims[8], u64 offset, u64 bytes
 *   …    the tensors, dense and row-major, each at a multiple of 64
 * A checkpoint file is the block, then what the program that wrote it keeps for itself, then 32 bytes:
 *   magic "LATHEEND", u32 version 1, u32 0, u64 bytes of its own, u64 checksum
 * The checksum is the XXH64 of three XXH64: of the block, of what follows, of the first 24 of the 32 bytes.
 * A file that is the block alone (fwrite from an application) is read as well; it has no checksum. */
#ifndef LT_STATE_H
#define LT_STATE_H
#include "lt_file.h"

enum { LT_STATE_HEADER = 64, LT_STATE_ENTRY = 192, LT_STATE_NAME = 96, LT_STATE_RANK = 8, LT_STATE_TAIL = 32 };

/* A row of the table, as it lies in the block. */
typedef struct lt_state_entry {
  char name[LT_STATE_NAME], dtype[8];
  uint32_t role, rank;
  int64_t dims[LT_STATE_RANK];
  uint64_t offset, bytes;
} lt_state_entry;

typedef struct lt_state {
  void *block;                       /* malloc'ed, 64 bytes aligned */
  size_t bytes;
  const void *own;                   /* what followed the block in the file; NULL: nothing */
  size_t own_bytes;
} lt_state;

/* Whether `bytes` bytes are a block whose table is sound: else -1, and why is a sentence. */
int lt_state_check(const void *block, size_t bytes, char *why, size_t why_len);
uint64_t lt_state_layout(const void *block);
int lt_state_tensors(const void *block);
const lt_state_entry *lt_state_at(const void *block, int k);
const lt_state_entry *lt_state_find(const void *block, const char *name);       /* NULL: there is none */
void *lt_state_data(const void *block, const lt_state_entry *e);
/* Whether two sound blocks have the same tensors: else -1, and why names the first that differs. `what` is how to call
 * the one given ("run/best.state"). */
int lt_state_same(const void *given, const void *wanted, const char *what, char *why, size_t why_len);

/* All or nothing: written beside `path`, flushed to the disk, renamed. After an error the old file is as it was. */
int lt_state_save(const char *path, const void *block, size_t bytes, const void *own, size_t own_bytes, char *why,
                  size_t why_len);
int lt_state_load(const char *path, lt_state *s, char *why, size_t why_len);
void lt_state_free(lt_state *s);

/* The same for any file made of pieces. */
typedef struct lt_piece { const void *at; size_t n; } lt_piece;
int lt_replace_file(const char *path, const lt_piece *piece, int pieces, int flush, char *why, size_t why_len);
#endif
