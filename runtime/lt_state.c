/* See lt_state.h. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_state.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint32_t u32(const void *block, size_t at) { uint32_t v; memcpy(&v, (const char *)block + at, 4); return v; }
static uint64_t u64(const void *block, size_t at) { uint64_t v; memcpy(&v, (const char *)block + at, 8); return v; }

/* ---- the table ---- */

uint64_t lt_state_layout(const void *block) { return u64(block, 16); }
int lt_state_tensors(const void *block) { return (int)u32(block, 32); }

const lt_state_entry *lt_state_at(const void *block, int k) {
  return (const lt_state_entry *)((const char *)block + LT_STATE_HEADER) + k;
}

const lt_state_entry *lt_state_find(const void *block, const char *name) {
  int k, n = lt_state_tensors(block);
  for (k = 0; k < n; k++)
    if (!strcmp(lt_state_at(block, k)->name, name)) return lt_state_at(block, k);
  return NULL;
}

void *lt_state_data(const void *block, const lt_state_entry *e) { return (char *)block + e->offset; }

static int entry_is_sound(const lt_state_entry *e, size_t head, size_t bytes) {
  uint64_t size;
  uint32_t k;
  if (!memchr(e->name, 0, sizeof e->name) || !memchr(e->dtype, 0, sizeof e->dtype) || e->rank > LT_STATE_RANK) return 0;
  size = (uint64_t)lt_elem_bytes(e->dtype);
  if (!size) return 0;
  for (k = 0; k < e->rank; k++) {
    if (e->dims[k] < 0 || (e->dims[k] && size > bytes / (uint64_t)e->dims[k])) return 0;
    size *= (uint64_t)e->dims[k];
  }
  return size == e->bytes && e->offset >= head && e->offset % 64 == 0 &&
         e->offset <= bytes && bytes - e->offset >= size;
}

int lt_state_check(const void *block, size_t bytes, char *why, size_t why_len) {
  uint32_t k, n;
  size_t head;
  if (bytes < LT_STATE_HEADER || memcmp(block, "LATHESTA", 8)) return lt_fail(why, why_len, "is not a state of lathe");
  if (u32(block, 8) != 1 || u32(block, 12) != LT_STATE_HEADER)
    return lt_fail(why, why_len, "has version %u of the format; this program reads version 1", u32(block, 8));
  if (u64(block, 24) > bytes)
    return lt_fail(why, why_len, "is cut off: it has %zu of %llu bytes", bytes, (unsigned long long)u64(block, 24));
  n = u32(block, 32);
  head = LT_STATE_HEADER + (size_t)n * LT_STATE_ENTRY;
  if (head > u64(block, 24)) return lt_fail(why, why_len, "is damaged: %u tensors have no room in it", n);
  for (k = 0; k < n; k++)
    if (!entry_is_sound(lt_state_at(block, (int)k), head, (size_t)u64(block, 24)))
      return lt_fail(why, why_len, "is damaged: entry %u of its table", k);
  return 0;
}

static void tensor_text(const lt_state_entry *e, char *text, size_t n) {
  lt_type_text(e->dtype, (int)e->rank, e->dims, text, n);
}

int lt_state_same(const void *given, const void *wanted, const char *what, char *why, size_t why_len) {
  int k, n = lt_state_tensors(wanted), extra = lt_state_tensors(given);
  char a[200], b[200];
  for (k = 0; k < n; k++) {
    const lt_state_entry *w = lt_state_at(wanted, k), *g = lt_state_find(given, w->name);
    tensor_text(w, b, sizeof b);
    if (!g) return lt_fail(why, why_len, "%s is of another network: it has no tensor '%s' (%s)", what, w->name, b);
    tensor_text(g, a, sizeof a);
    if (strcmp(a, b))
      return lt_fail(why, why_len, "%s is of another network: its '%s' is %s, here it is %s", what, w->name, a, b);
  }
  for (k = 0; k < extra; k++) {
    const lt_state_entry *g = lt_state_at(given, k);
    if (!lt_state_find(wanted, g->name))
      return lt_fail(why, why_len, "%s is of another network: its tensor '%s' is not in this one", what, g->name);
  }
  if (lt_state_layout(given) == lt_state_layout(wanted)) return 0;
  return lt_fail(why, why_len, "%s is of another network: it has the same tensors in another order or role", what);
}

/* ---- files ---- */

static int write_all(int fd, const void *bytes, size_t n) {
  const char *p = bytes;
  while (n) {
    ssize_t k = write(fd, p, n > 1 << 30 ? 1 << 30 : n);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) return -1;
    p += k;
    n -= (size_t)k;
  }
  return 0;
}

/* The rename itself is on disk only when the folder is. Some file systems cannot; then nothing more can be done. */
static void flush_folder(const char *path) {
  char folder[4096];
  const char *slash = strrchr(path, '/');
  int fd;
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
  fd = open(folder, O_RDONLY);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

int lt_replace_file(const char *path, const lt_piece *piece, int pieces, int flush, char *why, size_t why_len) {
  char beside[4096];
  int fd, k, bad = 0, code;
  if (snprintf(beside, sizeof beside, "%s.part", path) >= (int)sizeof beside)
    return lt_fail(why, why_len, "%.60s…: the path is too long", path);
  fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (fd < 0) return lt_fail(why, why_len, "cannot write %s: %s", beside, strerror(errno));
  for (k = 0; k < pieces && !bad; k++) bad = write_all(fd, piece[k].at, piece[k].n);
  if (!bad && flush) bad = fsync(fd);
  code = errno;
  if (close(fd) && !bad) { bad = -1; code = errno; }
  if (!bad && rename(beside, path)) { bad = -1; code = errno; }
  if (bad) {
    unlink(beside);
    return lt_fail(why, why_len, "cannot write %s: %s", path, strerror(code));
  }
  if (flush) flush_folder(path);
  return 0;
}

/* XXH64 wants its bytes in one place: the checksum is the hash of the pieces' hashes. */
static uint64_t checksum(const lt_piece *piece, int n) {
  uint64_t h[3];
  int k;
  for (k = 0; k < n; k++) h[k] = lt_xxh64(piece[k].at, piece[k].n);
  return lt_xxh64(h, sizeof *h * (size_t)n);
}

int lt_state_save(const char *path, const void *block, size_t bytes, const void *own, size_t own_bytes, char *why,
                  size_t why_len) {
  unsigned char tail[LT_STATE_TAIL] = "LATHEEND";
  lt_piece piece[3];
  uint64_t n = own_bytes, h;
  piece[0].at = block; piece[0].n = bytes;
  piece[1].at = own;   piece[1].n = own_bytes;
  piece[2].at = tail;  piece[2].n = LT_STATE_TAIL - 8;
  tail[8] = 1;
  memcpy(tail + 16, &n, 8);
  h = checksum(piece, 3);
  memcpy(tail + 24, &h, 8);
  piece[2].n = LT_STATE_TAIL;
  return lt_replace_file(path, piece, 3, 1, why, why_len);
}

static int check_tail(lt_state *s, size_t n, char *why, size_t why_len) {
  const unsigned char *p = (const unsigned char *)s->block + s->bytes, *tail;
  size_t rest = n - s->bytes;
  lt_piece piece[3];
  if (rest == 0) return 0;
  if (rest < LT_STATE_TAIL) return lt_fail(why, why_len, "is cut off or damaged at its end");
  tail = p + rest - LT_STATE_TAIL;
  if (memcmp(tail, "LATHEEND", 8) || u64(tail, 16) != rest - LT_STATE_TAIL)
    return lt_fail(why, why_len, "is cut off or damaged at its end");
  piece[0].at = s->block; piece[0].n = s->bytes;
  piece[1].at = p;        piece[1].n = rest - LT_STATE_TAIL;
  piece[2].at = tail;     piece[2].n = LT_STATE_TAIL - 8;
  if (checksum(piece, 3) != u64(tail, 24)) return lt_fail(why, why_len, "is damaged: its checksum does not match");
  s->own = p;
  s->own_bytes = rest - LT_STATE_TAIL;
  return 0;
}

int lt_state_load(const char *path, lt_state *s, char *why, size_t why_len) {
  char inner[300];
  size_t n = 0;
  memset(s, 0, sizeof *s);
  s->block = lt_read_file(path, &n, why, why_len);
  if (!s->block) return -1;
  if (!lt_state_check(s->block, n, inner, sizeof inner)) {
    s->bytes = (size_t)u64(s->block, 24);
    if (!check_tail(s, n, inner, sizeof inner)) return 0;
  }
  lt_state_free(s);
  return lt_fail(why, why_len, "%s %s", path, inner);
}

void lt_state_free(lt_state *s) {
  free(s->block);
  memset(s, 0, sizeof *s);
}
