/* The rows of text files, for words, characters and labels: lines that are not blank, or a column of a csv. */
#include "lt_data_kit.h"
#include "lt_data_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t lt_data_code_point(const char **p, const char *end) {
  const unsigned char *s = (const unsigned char *)*p;
  uint32_t c = *s;
  int more = c < 0xC2 || c > 0xF4 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3, k;
  if (end - *p <= more) more = 0;
  if (more) {
    uint32_t v = c & (0x3Fu >> more);
    uint32_t least = more == 1 ? 0x80u : more == 2 ? 0x800u : 0x10000u;        /* less has a shorter form */
    for (k = 1; k <= more && (s[k] & 0xC0) == 0x80; k++) v = v << 6 | (s[k] & 0x3F);
    if (k > more && v >= least && v < 0x110000 && (v < 0xD800 || v > 0xDFFF)) {
      *p += more + 1;
      return v;
    }
  }
  *p += 1;
  return c;
}

int lt_data_utf8(uint32_t c, char out[4]) {
  int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3, k;
  out[0] = (char)(more ? (0xF0u << (3 - more) & 0xFF) | c >> (6 * more) : c);
  for (k = 1; k <= more; k++) out[k] = (char)(0x80 | (c >> (6 * (more - k)) & 0x3F));
  return more + 1;
}

int lt_data_tokens(lt_data *d, int64_t k, const char *const *text, const int32_t *length) {
  char **token = lt_data_keep(d, sizeof *token * (size_t)(k + 1)), *to;
  size_t bytes = 0;
  int64_t i;
  for (i = 0; i < k; i++) bytes += 2 * (size_t)length[i] + 1;  /* a Latin-1 byte takes two in UTF-8 */
  to = token ? lt_data_keep(d, bytes) : NULL;
  if (!to) return -1;
  for (i = 0; i < k; i++) {
    const char *p = text[i], *end = p + length[i];
    token[i] = to;
    while (p < end) to += lt_data_utf8(lt_data_code_point(&p, end), to);
    to++;
  }
  d->token = (const char *const *)token;
  d->classes = k;
  return 0;
}

/* ---- lines ---- */

typedef struct lines { lt_line *at; int64_t n, room; char **bytes; int tables; } lines;

static int is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

/* Takes the blanks off both ends and, where wanted, the label off the front. */
static void trim(lt_line *l, int label) {
  while (l->length && is_blank(l->text[l->length - 1])) l->length--;
  while (l->length && is_blank(*l->text)) { l->text++; l->length--; }
  if (!label) return;
  l->label = l->text;
  while (l->length && !is_blank(*l->text)) { l->text++; l->length--; l->label_length++; }
  while (l->length && is_blank(*l->text)) { l->text++; l->length--; }
}

static int add_line(lt_data *d, lines *s, const char *text, size_t length, int file, int64_t number, int keep_blank) {
  lt_line *l;
  if (length > INT32_MAX || number > INT32_MAX)
    return lt_data_fail(d, "%s, line %lld: the line is too long", d->reader->arg[file].text, (long long)number);
  if (s->n == s->room) {
    lt_line *more = lt_data_keep(d, sizeof *more * (size_t)(s->room = 2 * s->room + 1024));
    if (!more) return -1;
    if (s->n) memcpy(more, s->at, sizeof *more * (size_t)s->n);
    lt_data_drop(d, s->at);
    s->at = more;
  }
  l = &s->at[s->n];
  memset(l, 0, sizeof *l);
  l->text = text;
  l->length = (int32_t)length;
  l->file = file;
  l->number = (int32_t)number;
  trim(l, lt_data_option(d, "label") != NULL);
  if (l->length || l->label_length || keep_blank) s->n++;
  return 0;
}

static int plain_lines(lt_data *d, lines *s, int file) {
  size_t n;
  const char *p = s->bytes[file] = lt_data_bytes(d, file, &n), *end;
  int64_t number = 1;
  if (!p) return -1;
  end = p + n;
  if (n >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3)) p += 3;
  for (; p < end; number++) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop) stop = end;
    if (add_line(d, s, p, (size_t)(stop - p), file, number, 0)) return -1;
    p = stop + 1;
  }
  return 0;
}

/* A blank field stays a row: other columns of the same file have one there too. */
static int column_lines(lt_data *d, lines *s, int file) {
  lt_table t;
  int got = -1, column = -1;
  if (!lt_table_open(d, &t, file)) column = lt_table_column(d, &t);
  s->bytes[file] = t.bytes;
  while (column >= 0 && (got = lt_table_next(d, &t)) > 0)
    if (add_line(d, s, t.csv.field[column].text, t.csv.field[column].length, file, t.csv.line, 1)) { got = -1; break; }
  lt_table_close(&t);
  return got;
}

static int check_label(lt_data *d) {
  const char *label = lt_data_option(d, "label");
  if (label && strcmp(label, "first"))
    return lt_data_fail(d, "%s: label can be \"first\", the first word of a line, not \"%s\"", d->reader->name, label);
  if (label && lt_data_option(d, "column"))
    return lt_data_fail(d, "%s: column and label exclude each other", d->reader->name);
  return 0;
}

typedef struct places { int32_t *number, *file; char **bytes; } places;

lt_line *lt_data_lines(lt_data *d, int64_t *n) {
  lines s;
  int k, by_column = lt_data_option(d, "column") != NULL;
  places *where = lt_data_keep(d, sizeof *where);
  memset(&s, 0, sizeof s);
  s.bytes = lt_data_keep(d, sizeof *s.bytes * LT_MAX_ARGS);
  if (!where || !s.bytes || check_label(d)) return NULL;
  where->bytes = s.bytes;
  d->reader->own = where;
  for (k = 0; k < d->reader->files; k++)
    if (by_column ? column_lines(d, &s, k) : plain_lines(d, &s, k)) return NULL;
  if (!s.n) lt_data_fail(d, "%s holds no rows", d->reader->arg[0].text);
  *n = d->rows = s.n;
  return s.n ? s.at : NULL;
}

static void line_where(const lt_data *d, int64_t row, char *text, size_t text_len) {
  const places *w = d->reader->own;
  snprintf(text, text_len, "%s, line %d", d->reader->arg[w->file[row]].text, w->number[row]);
}

int lt_data_lines_drop(lt_data *d, lt_line *line) {
  places *w = d->reader->own;
  int64_t i;
  int k;
  w->number = lt_data_keep(d, sizeof *w->number * (size_t)d->rows);
  w->file = w->number ? lt_data_keep(d, sizeof *w->file * (size_t)d->rows) : NULL;
  if (!w->file) return -1;
  for (i = 0; i < d->rows; i++) {
    w->number[i] = line[i].number;
    w->file[i] = line[i].file;
  }
  d->reader->where = line_where;
  lt_data_drop(d, line);
  for (k = 0; k < d->reader->files; k++) lt_data_drop(d, w->bytes[k]);
  return 0;
}
