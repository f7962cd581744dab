/* text, words, characters: indices into a vocabulary that the data itself gives. See lt_data.h for their order. */
#include "lt_data_kit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PADDING, UNKNOWN, SPECIAL, CODE_POINTS = 0x110000 };

static uint32_t lower(uint32_t c) {                            /* of Latin-1 */
  return (c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7) ? c + 32 : c;
}

static int wants_positive(lt_data *d, const char *key) {
  if (lt_data_integer(d, key, 1) > 0) return 0;
  return lt_data_fail(d, "%s: %s must be at least 1", d->reader->name, key);
}

/* ---- a vocabulary of characters ---- */

/* index[code point]: 1 where it occurs -> its index; the first one gets `first`. Gives d its tokens. */
static int number_characters(lt_data *d, int32_t *index, int first) {
  int64_t k = first, c;
  const char **text;
  int32_t *length;
  char (*bytes)[4];
  int bad;
  for (c = 0; c < CODE_POINTS; c++)
    if (index[c]) k++;
  text = lt_data_keep(d, (size_t)k * sizeof *text);
  length = text ? lt_data_keep(d, (size_t)k * sizeof *length) : NULL;
  bytes = length ? lt_data_keep(d, (size_t)k * sizeof *bytes) : NULL;
  if (!bytes) return -1;
  if (first) { text[PADDING] = ""; text[UNKNOWN] = "?"; length[UNKNOWN] = 1; }
  for (k = first, c = 0; c < CODE_POINTS; c++)
    if (index[c]) {
      length[k] = lt_data_utf8((uint32_t)c, bytes[k]);
      text[k] = bytes[k];
      index[c] = (int32_t)k++;
    }
  bad = lt_data_tokens(d, k, text, length);
  lt_data_drop(d, bytes);
  lt_data_drop(d, length);
  lt_data_drop(d, (void *)text);
  return bad;
}

/* ---- text ---- */

/* Windows do not cross from one file into the next: file k has rows from row[k], elements from start[k]. */
typedef struct windows {
  unsigned char *small;              /* indices, one byte each where that suffices */
  int32_t *wide;
  int64_t stride, row[LT_MAX_ARGS + 1], start[LT_MAX_ARGS + 1];
} windows;

static int file_of(const lt_data *d, const windows *w, int64_t row) {
  int k = 0;
  while (k + 1 < d->reader->files && row >= w->row[k + 1]) k++;
  return k;
}

static int text_rows(lt_data *d, const int64_t *index, int64_t n, void *out, char *why, size_t why_len) {
  const windows *w = d->reader->own;
  int64_t i, t, T = d->dims[0];
  (void)why; (void)why_len;
  for (i = 0; i < n; i++) {
    int k = file_of(d, w, index[i]);
    int64_t from = w->start[k] + (index[i] - w->row[k]) * w->stride;
    int32_t *to = (int32_t *)out + i * T;
    if (w->wide) memcpy(to, w->wide + from, (size_t)T * sizeof *to);
    else for (t = 0; t < T; t++) to[t] = w->small[from + t];
  }
  return 0;
}

static void text_where(const lt_data *d, int64_t row, char *text, size_t text_len) {
  const windows *w = d->reader->own;
  int k = file_of(d, w, row);
  snprintf(text, text_len, "%s, from character %lld", d->reader->arg[k].text,
           (long long)((row - w->row[k]) * w->stride));
}

static int read_characters(lt_data *d, windows *w, char *const *bytes, const size_t *size, int32_t *index) {
  int64_t total = 0, at = 0;
  int k;
  for (k = 0; k < d->reader->files; k++) {
    const char *p = bytes[k], *end = p + size[k];
    for (; p < end; total++) index[lt_data_code_point(&p, end)] = 1;
  }
  if (number_characters(d, index, 0)) return -1;
  if (d->classes <= 256) w->small = lt_data_keep(d, (size_t)total);
  else w->wide = lt_data_keep(d, (size_t)total * sizeof *w->wide);
  if (!w->small && !w->wide) return -1;
  for (k = 0; k < d->reader->files; k++) {
    const char *p = bytes[k], *end = p + size[k];
    w->start[k] = at;
    for (; p < end; at++) {
      int32_t c = index[lt_data_code_point(&p, end)];
      if (w->small) w->small[at] = (unsigned char)c;
      else w->wide[at] = c;
    }
  }
  w->start[k] = at;
  return 0;
}

int lt_data_open_text(lt_data *d) {
  int64_t T = lt_data_integer(d, "length", 1);
  windows *w = lt_data_keep(d, sizeof *w);
  char *bytes[LT_MAX_ARGS];
  size_t size[LT_MAX_ARGS];
  int32_t *index;
  int k, bad;
  if (!w || wants_positive(d, "length") || wants_positive(d, "stride")) return -1;
  w->stride = lt_data_integer(d, "stride", T);
  for (k = 0; k < d->reader->files; k++)
    if (!(bytes[k] = lt_data_bytes(d, k, &size[k]))) return -1;
  index = lt_data_keep(d, CODE_POINTS * sizeof *index);
  if (!index) return -1;
  bad = read_characters(d, w, bytes, size, index);
  lt_data_drop(d, index);
  for (k = 0; k < d->reader->files; k++) lt_data_drop(d, bytes[k]);
  if (bad) return -1;
  for (k = 0; k < d->reader->files; k++) {
    int64_t n = w->start[k + 1] - w->start[k];
    w->row[k + 1] = w->row[k] + (n < T ? 0 : (n - T) / w->stride + 1);
  }
  d->rows = w->row[k];
  if (!d->rows)
    return lt_data_fail(d, "%s has fewer than the %lld characters of one row", d->reader->arg[0].text, (long long)T);
  d->ordered = 1;
  d->reader->own = w;
  d->reader->rows = text_rows;
  d->reader->where = text_where;
  lt_data_shape(d, "i32", 1, &T);
  return 0;
}

/* ---- rows of one line each ---- */

typedef struct row_writer { int32_t *to; int64_t length, n; int left; } row_writer;

static void put(row_writer *r, int32_t v) { if (r->n < r->length) r->to[r->n++] = v; }

static void end_row(row_writer *r) {
  if (r->left && r->n < r->length) {
    memmove(r->to + (r->length - r->n), r->to, (size_t)r->n * sizeof *r->to);
    memset(r->to, 0, (size_t)(r->length - r->n) * sizeof *r->to);
  }
  r->to += r->length;
  r->n = 0;
}

static int start_rows(lt_data *d, row_writer *r) {
  const char *pad = lt_data_option(d, "pad");
  memset(r, 0, sizeof *r);
  if (wants_positive(d, "length")) return -1;
  if (pad && strcmp(pad, "left") && strcmp(pad, "right"))
    return lt_data_fail(d, "%s: pad is \"right\" or \"left\", not \"%s\"", d->reader->name, pad);
  r->length = lt_data_integer(d, "length", 1);
  r->left = pad && !strcmp(pad, "left");
  if (r->length > (INT64_C(1) << 40) / d->rows)
    return lt_data_fail(d, "%s: length=%lld is too long", d->reader->name, (long long)r->length);
  r->to = lt_data_keep(d, (size_t)(d->rows * r->length) * sizeof *r->to);
  d->reader->dense = (const char *)r->to;
  lt_data_shape(d, "i32", 1, &r->length);
  return r->to ? 0 : -1;
}

int lt_data_open_characters(lt_data *d) {
  row_writer r;
  int64_t n, i;
  int lowered = lt_data_true(d, "lower", 0);
  lt_line *line = lt_data_lines(d, &n);
  int32_t *index = line ? lt_data_keep(d, CODE_POINTS * sizeof *index) : NULL;
  if (!index || start_rows(d, &r)) return -1;
  d->counted = 1;
  for (i = 0; i < n; i++) {
    const char *p = line[i].text, *end = p + line[i].length;
    while (p < end && lt_data_counts(d, i)) {
      uint32_t c = lt_data_code_point(&p, end);
      index[lowered ? lower(c) : c] = 1;
    }
  }
  if (number_characters(d, index, SPECIAL)) return -1;
  for (i = 0; i < n; i++, end_row(&r)) {
    const char *p = line[i].text, *end = p + line[i].length;
    while (p < end) {
      uint32_t c = lt_data_code_point(&p, end);
      int32_t k = index[lowered ? lower(c) : c];
      put(&r, k ? k : UNKNOWN);
    }
  }
  lt_data_drop(d, index);
  return lt_data_lines_drop(d, line);
}

/* ---- words: an open hash table, its slots the order of first occurrence ---- */

typedef struct word { const char *text; int32_t length, count, index; } word;
typedef struct vocabulary { word *at; int64_t n, room; int32_t *slot; uint64_t slots; } vocabulary;

static int grow(lt_data *d, vocabulary *v) {
  word *more;
  int32_t *slot;
  uint64_t slots = v->slots ? 2 * v->slots : 4096, k;
  int64_t i;
  more = lt_data_keep(d, (size_t)(slots / 2) * sizeof *more);
  slot = more ? lt_data_keep(d, (size_t)slots * sizeof *slot) : NULL;
  if (!slot) return -1;
  for (i = 0; i < v->n; i++) {
    more[i] = v->at[i];
    for (k = lt_xxh64(more[i].text, (size_t)more[i].length) & (slots - 1); slot[k]; k = (k + 1) & (slots - 1)) continue;
    slot[k] = (int32_t)i + 1;
  }
  lt_data_drop(d, v->at);
  lt_data_drop(d, v->slot);
  v->at = more;
  v->slot = slot;
  v->slots = slots;
  v->room = (int64_t)slots / 2;
  return 0;
}

/* The word, added when it is new; NULL: no memory. */
static word *find_word(lt_data *d, vocabulary *v, const char *text, int32_t length) {
  uint64_t k;
  word *w;
  if (!v->slots && grow(d, v)) return NULL;
  for (k = lt_xxh64(text, (size_t)length) & (v->slots - 1); v->slot[k]; k = (k + 1) & (v->slots - 1)) {
    w = &v->at[v->slot[k] - 1];
    if (w->length == length && !memcmp(w->text, text, (size_t)length)) return w;
  }
  if (v->n == v->room) return grow(d, v) ? NULL : find_word(d, v, text, length);
  w = &v->at[v->n++];
  v->slot[k] = (int32_t)v->n;
  w->text = text;
  w->length = length;
  return w;
}

static int by_bytes(const word *a, const word *b) {
  int n = a->length < b->length ? a->length : b->length, c = memcmp(a->text, b->text, (size_t)n);
  return c ? c : a->length - b->length;
}

static int by_count(const void *x, const void *y) {
  const word *a = *(word *const *)x, *b = *(word *const *)y;
  return a->count != b->count ? (a->count < b->count ? 1 : -1) : by_bytes(a, b);
}

/* Numbers the words worth an index; the others stay UNKNOWN. */
static int number_words(lt_data *d, vocabulary *v) {
  int64_t most = lt_data_integer(d, "vocab", 0), least = lt_data_integer(d, "min_count", 1), k, n = SPECIAL;
  word **sorted = lt_data_keep(d, (size_t)v->n * sizeof *sorted);
  const char **text = sorted ? lt_data_keep(d, (size_t)(v->n + SPECIAL) * sizeof *text) : NULL;
  int32_t *length = text ? lt_data_keep(d, (size_t)(v->n + SPECIAL) * sizeof *length) : NULL;
  int bad;
  if (!length) return -1;
  if (most && most <= SPECIAL)
    return lt_data_fail(d, "words: vocab must be more than %d: index 0 is padding, 1 unknown", SPECIAL);
  for (k = 0; k < v->n; k++) sorted[k] = &v->at[k];
  qsort(sorted, (size_t)v->n, sizeof *sorted, by_count);
  text[PADDING] = "<pad>"; length[PADDING] = 5;
  text[UNKNOWN] = "<unk>"; length[UNKNOWN] = 5;
  for (k = 0; k < v->n; k++) {
    word *w = sorted[k];
    w->index = UNKNOWN;
    if (!w->count || w->count < least || (most && n >= most)) continue;        /* 0: in held-out rows alone */
    text[n] = w->text;
    length[n] = w->length;
    w->index = (int32_t)n++;
  }
  bad = lt_data_tokens(d, n, text, length);
  lt_data_drop(d, length);
  lt_data_drop(d, (void *)text);
  lt_data_drop(d, sorted);
  return bad;
}

static void lower_line(char *p, const char *end) {             /* Latin letters keep their length in UTF-8 */
  while (p < end) {
    const char *q = p;
    uint32_t c = lt_data_code_point(&q, end);
    if (lower(c) != c && q - p > 1) lt_data_utf8(lower(c), p);
    else if (lower(c) != c) *p = (char)lower(c);
    p += q - p;
  }
}

static const char *next_word(const char **p, const char *end, int32_t *length) {
  const char *start;
  while (*p < end && strchr(" \t\r\n\f\v", **p)) ++*p;
  start = *p;
  while (*p < end && !strchr(" \t\r\n\f\v", **p)) ++*p;
  *length = (int32_t)(*p - start);
  return *length ? start : NULL;
}

int lt_data_open_words(lt_data *d) {
  vocabulary v;
  row_writer r;
  int64_t n, i;
  int lowered = lt_data_true(d, "lower", 1);
  lt_line *line = lt_data_lines(d, &n);
  const char *text;
  int32_t length;
  memset(&v, 0, sizeof v);
  d->counted = 1;
  if (!line || start_rows(d, &r)) return -1;
  for (i = 0; i < n; i++) {
    const char *p = line[i].text, *end = p + line[i].length;
    if (lowered) lower_line((char *)p, end);                   /* the bytes are ours */
    while ((text = next_word(&p, end, &length))) {
      word *w = find_word(d, &v, text, length);
      if (!w) return -1;
      w->count += lt_data_counts(d, i);
    }
  }
  if (!v.n) return lt_data_fail(d, "%s holds no words", d->reader->arg[0].text);
  if (number_words(d, &v)) return -1;
  for (i = 0; i < n; i++, end_row(&r)) {
    const char *p = line[i].text, *end = p + line[i].length;
    while ((text = next_word(&p, end, &length))) put(&r, find_word(d, &v, text, length)->index);  /* all are there */
  }
  lt_data_drop(d, v.at);
  lt_data_drop(d, v.slot);
  return lt_data_lines_drop(d, line);
}
