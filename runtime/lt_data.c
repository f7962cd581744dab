/* See lt_data.h: the table of readers, the parser of calls, and what is the same for every column. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_data_kit.h"
#include "lt_zip.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct reader_row { lt_data_help help; int (*open)(lt_data *d); } reader_row;

#define LINES "[column=COLUMN], [separator=TEXT], [header=true|false], [label=TEXT], "

static const reader_row readers[] = {
  {{"idx", "FILE", "MNIST's format: images, labels"}, lt_data_open_idx},
  {{"npy", "FILE", "a NumPy array; its first axis is the rows"}, lt_data_open_npy},
  {{"npz", "FILE, NAME", "an array of a NumPy archive"}, lt_data_open_npz},
  {{"csv", "FILE, [column=COLUMN], [columns=TEXT], [separator=TEXT], [header=true|false], [missing=X]",
    "numbers of one column, several, or all"}, lt_data_open_csv},
  {{"text", "FILE, ..., length=N, [stride=N]", "windows of characters"}, lt_data_open_text},
  {{"words", "FILE, ..., " LINES "length=N, [vocab=N], [min_count=N], [lower=true|false], [pad=TEXT]",
    "lines as indices of words"}, lt_data_open_words},
  {{"characters", "FILE, ..., " LINES "length=N, [lower=false|true], [pad=TEXT]",
    "lines as indices of characters"}, lt_data_open_characters},
  {{"labels", "FILE, ..., [column=COLUMN], [separator=TEXT], [header=true|false], [label=TEXT]",
    "classes of lines, by file, column or first word; or of images, by folder"}, lt_data_open_labels},
  {{"images", "FILE, height=N, width=N, [channels=N]", "every image below a folder, resized"}, lt_data_open_images},
};
enum { READERS = sizeof readers / sizeof *readers };

const lt_data_help *lt_data_readers(int k) { return k >= 0 && k < READERS ? &readers[k].help : NULL; }

/* ---- what readers use ---- */

int lt_data_fail(lt_data *d, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(d->reader->why, d->reader->why_len, fmt, ap);
  va_end(ap);
  return -1;
}

typedef struct block { struct block *next, *before; } block;   /* two pointers: what follows is aligned to 16 */

void *lt_data_keep(lt_data *d, size_t bytes) {
  block *b = bytes < SIZE_MAX - 64 - sizeof *b ? calloc(1, sizeof *b + bytes + 64) : NULL;
  if (!b) { lt_data_fail(d, "%s: no memory for %zu bytes", d->reader->name, bytes); return NULL; }
  b->next = d->reader->blocks;
  if (b->next) b->next->before = b;
  d->reader->blocks = b;
  return b + 1;
}

char *lt_data_keep_text(lt_data *d, const char *text, size_t n) {
  char *p = lt_data_keep(d, n + 1);
  if (p) memcpy(p, text, n);
  return p;
}

void lt_data_drop(lt_data *d, void *kept) {
  block *b = kept ? (block *)kept - 1 : NULL;
  if (!b) return;
  if (b->before) b->before->next = b->next;
  else d->reader->blocks = b->next;
  if (b->next) b->next->before = b->before;
  free(b);
}

int lt_data_counts(const lt_data *d, int64_t row) {
  return !d->reader->held || row >= d->reader->held_rows || !d->reader->held[row];
}

const char *lt_data_option(const lt_data *d, const char *key) {
  const lt_data_reader *r = d->reader;
  int k;
  for (k = 0; k < r->args; k++)
    if (r->arg[k].key && !strcmp(r->arg[k].key, key)) return r->arg[k].text;
  return NULL;
}

int64_t lt_data_integer(const lt_data *d, const char *key, int64_t otherwise) {
  const char *s = lt_data_option(d, key);
  return s ? strtoll(s, NULL, 10) : otherwise;
}

int lt_data_true(const lt_data *d, const char *key, int otherwise) {
  const char *s = lt_data_option(d, key);
  return s ? !strcmp(s, "true") : otherwise;
}

const char *lt_data_path(lt_data *d, int k, char path[LT_PATH]) {
  const char *file = d->reader->arg[k].text, *base = d->reader->base_dir;
  int n = snprintf(path, LT_PATH, "%s%s%s", base && *file != '/' ? base : "",
                   base && *base && *file != '/' ? "/" : "", file);
  if (n < LT_PATH) return path;
  lt_data_fail(d, "%.60s…: the path is too long", file);
  return NULL;
}

char *lt_data_bytes(lt_data *d, int k, size_t *n) {
  char path[LT_PATH], *bytes, *kept;
  if (!lt_data_path(d, k, path)) return NULL;
  bytes = lt_unpack_file(path, n, d->reader->why, d->reader->why_len);
  if (!bytes) return NULL;
  kept = lt_data_keep_text(d, bytes, *n);
  free(bytes);
  return kept;
}

void lt_data_shape(lt_data *d, const char *dtype, int rank, const int64_t *dims) {
  int k;
  snprintf(d->dtype, sizeof d->dtype, "%s", dtype);
  d->elem_bytes = lt_elem_bytes(dtype);
  d->rank = rank;
  d->row_bytes = (size_t)d->elem_bytes;
  for (k = 0; k < rank; k++) d->row_bytes *= (size_t)(d->dims[k] = dims[k]);
}

/* ---- the call ---- */

static const char *past_blanks(const char *s) { return s + strspn(s, " \t\r\n"); }

/* A string in quotes, with \" \\ \n \t; *s behind it. */
static char *parse_string(lt_data *d, const char **s) {
  const char *p = *s + 1;
  char *text = lt_data_keep(d, strlen(p) + 1), *to = text;
  if (!text) return NULL;
  for (; *p && *p != '"'; p++) {
    if (*p == '\\' && p[1]) p++, *to++ = *p == 'n' ? '\n' : *p == 't' ? '\t' : *p;
    else *to++ = *p;
  }
  if (!*p) { lt_data_fail(d, "a quote is not closed: %.80s", *s); return NULL; }
  *s = p + 1;
  return text;
}

static int is_word(char c) { return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-' || c == '+'; }

static char *parse_word(lt_data *d, const char **s) {
  const char *start = *s;
  while (is_word(**s)) (*s)++;
  if (*s == start) { lt_data_fail(d, "expected an argument at '%.40s'", start); return NULL; }
  return lt_data_keep_text(d, start, (size_t)(*s - start));
}

static int parse_argument(lt_data *d, const char **s) {
  lt_data_reader *r = d->reader;
  lt_data_arg *a = &r->arg[r->args];
  if (r->args == LT_MAX_ARGS) return lt_data_fail(d, "%s has more than %d arguments", r->name, LT_MAX_ARGS);
  if (**s != '"') {
    a->text = parse_word(d, s);
    if (!a->text) return -1;
    *s = past_blanks(*s);
    if (**s == '=') {
      a->key = a->text;
      *s = past_blanks(*s + 1);
    }
  }
  if (!a->text || a->key) {
    a->quoted = **s == '"';
    a->text = a->quoted ? parse_string(d, s) : parse_word(d, s);
    if (!a->text) return -1;
  }
  if (!a->key && r->args > r->files)
    return lt_data_fail(d, "%s: '%s' stands behind an option; files come first", r->name, a->text);
  if (!a->key) r->files++;
  r->args++;
  return 0;
}

static int parse_call(lt_data *d, const char *call) {
  const char *s = past_blanks(call);
  d->reader->name = parse_word(d, &s);
  if (!d->reader->name) return -1;
  s = past_blanks(s);
  if (*s != '(') return lt_data_fail(d, "expected %s(\"file\", …)", d->reader->name);
  s = past_blanks(s + 1);
  while (*s != ')') {
    if (parse_argument(d, &s)) return -1;
    s = past_blanks(s);
    if (*s == ',') s = past_blanks(s + 1);
    else if (*s != ')') return lt_data_fail(d, "%s: expected ',' or ')' at '%.40s'", d->reader->name, s);
  }
  s = past_blanks(s + 1);
  return *s ? lt_data_fail(d, "%s: nothing may follow the call: '%.40s'", d->reader->name, s) : 0;
}

/* What `arguments` says about key: its kind, and *must. NULL: no such option. */
static const char *option_kind(const char *arguments, const char *key, int *must) {
  const char *p = arguments;
  size_t n = strlen(key);
  while ((p = strstr(p, key))) {
    if (p > arguments && (p[-1] == ' ' || p[-1] == '[') && p[n] == '=') {
      *must = p[-1] == ' ';
      return p + n + 1;
    }
    p += n;
  }
  return NULL;
}

static int check_option(lt_data *d, const reader_row *row, const lt_data_arg *a) {
  int must, is_number, is_integer;
  const char *kind = option_kind(row->help.arguments, a->key, &must);
  char *end;
  double v = strtod(a->text, &end);
  is_number = *a->text && !*end && !a->quoted;
  is_integer = is_number && v > -1e15 && v < 1e15 && v == (double)(int64_t)v;
  if (!kind)
    return lt_data_fail(d, "%s has no option '%s'; it takes (%s)", row->help.name, a->key, row->help.arguments);
  if (*kind == 'N' && !(is_integer && v >= 0))
    return lt_data_fail(d, "%s: %s must be an integer, not '%s'", row->help.name, a->key, a->text);
  if (*kind == 'X' && !is_number)
    return lt_data_fail(d, "%s: %s must be a number, not '%s'", row->help.name, a->key, a->text);
  if (*kind == 'T' && !a->quoted) return lt_data_fail(d, "%s: %s must be a text in quotes", row->help.name, a->key);
  if (*kind == 'C' && !a->quoted && !is_integer)
    return lt_data_fail(d, "%s: %s must be a name in quotes, or a number from 1", row->help.name, a->key);
  if ((*kind == 't' || *kind == 'f') && strcmp(a->text, "true") && strcmp(a->text, "false"))
    return lt_data_fail(d, "%s: %s must be true or false", row->help.name, a->key);
  return 0;
}

static int check_arguments(lt_data *d, const reader_row *row) {
  const char *p = row->help.arguments;
  int k, want = strstr(p, "NAME") ? 2 : 1, more = strstr(p, "...") != NULL;
  if (d->reader->files < want || (d->reader->files > want && !more))
    return lt_data_fail(d, "%s takes (%s)", row->help.name, p);
  for (k = d->reader->files; k < d->reader->args; k++)
    if (check_option(d, row, &d->reader->arg[k])) return -1;
  while ((p = strchr(p, '='))) {                               /* the options that must be there */
    const char *key = p++;
    char name[40];
    while (key[-1] != ' ' && key[-1] != '[') key--;
    snprintf(name, sizeof name, "%.*s", (int)(p - 1 - key), key);
    if (key[-1] == ' ' && !lt_data_option(d, name))
      return lt_data_fail(d, "%s wants %s=…; it takes (%s)", row->help.name, name, row->help.arguments);
  }
  return 0;
}

static int open_column(lt_data *d, const char *call) {
  char names[200];
  size_t len = 0;
  int k;
  if (parse_call(d, call)) return -1;
  for (k = 0; k < READERS; k++)
    if (!strcmp(readers[k].help.name, d->reader->name))
      return check_arguments(d, &readers[k]) || readers[k].open(d) ? -1 : 0;
  for (k = 0; k < READERS; k++)
    len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", k ? ", " : "", readers[k].help.name);
  return lt_data_fail(d, "there is no reader '%s'; there are %s", d->reader->name, names);
}

int lt_data_open_held(const char *call, const char *base_dir, const unsigned char *held, int64_t rows, lt_data *d,
                      char *why, size_t why_len) {
  memset(d, 0, sizeof *d);
  d->reader = calloc(1, sizeof *d->reader);
  if (!d->reader) { snprintf(why, why_len, "no memory"); return -1; }
  d->reader->why = why;
  d->reader->why_len = why_len;
  d->reader->held = held;
  d->reader->held_rows = rows;
  if (base_dir) d->reader->base_dir = lt_data_keep_text(d, base_dir, strlen(base_dir));
  if ((base_dir && !d->reader->base_dir) || open_column(d, call)) { lt_data_close(d); return -1; }
  if (d->rows < 1) {
    lt_data_fail(d, "%s holds no rows", d->reader->arg[0].text);
    lt_data_close(d);
    return -1;
  }
  d->reader->why = NULL;
  d->reader->held = NULL;
  return 0;
}

int lt_data_open(const char *call, const char *base_dir, lt_data *d, char *why, size_t why_len) {
  return lt_data_open_held(call, base_dir, NULL, 0, d, why, why_len);
}

void lt_data_close(lt_data *d) {
  block *b = d->reader ? d->reader->blocks : NULL;
  while (b) {
    block *next = b->next;
    free(b);
    b = next;
  }
  free(d->reader);
  memset(d, 0, sizeof *d);
}

/* ---- rows ---- */

int lt_data_rows(lt_data *d, const int64_t *index, int64_t n, void *out, char *why, size_t why_len) {
  int64_t i;
  for (i = 0; i < n; i++)
    if (index[i] < 0 || index[i] >= d->rows) {
      snprintf(why, why_len, "%s: there is no row %lld of %lld", d->reader->arg[0].text, (long long)index[i],
               (long long)d->rows);
      return -1;
    }
  if (!d->reader->dense) return d->reader->rows(d, index, n, out, why, why_len);
  for (i = 0; i < n; i++)
    memcpy((char *)out + (size_t)i * d->row_bytes, d->reader->dense + (size_t)index[i] * d->row_bytes, d->row_bytes);
  return 0;
}

void lt_data_where(const lt_data *d, int64_t row, char *text, size_t text_len) {
  if (d->reader->where) d->reader->where(d, row, text, text_len);
  else snprintf(text, text_len, "%s, row %lld", d->reader->arg[0].text, (long long)row);
}

/* Nearly all float data: no need to look at elements one by one. Exponent all ones: infinite or NaN. */
static int is_finite_f32(const lt_tensor *t) {
  const uint32_t *p = t->data;
  uint32_t bad = 0;
  int64_t i;
  if (strcmp(t->dtype, "f32")) return 0;
  for (i = 0; i < t->count; i++) bad |= (p[i] & 0x7F800000u) == 0x7F800000u;
  return !bad;
}

static int check_row(const lt_data *d, const lt_tensor *t, int64_t row, int64_t classes, char *why, size_t why_len) {
  int64_t i;
  char where[500];
  if (is_finite_f32(t)) return 0;
  for (i = 0; i < t->count; i++) {
    double v = lt_get(t, i);
    if (lt_is_float(d->dtype) ? v - v == 0 : v >= 0 && v < (double)classes) continue;
    lt_data_where(d, row, where, sizeof where);
    if (lt_is_float(d->dtype)) snprintf(why, why_len, "%s: the value is %s", where, v != v ? "NaN" : "infinite");
    else snprintf(why, why_len, "%s: the value is %.0f; the network takes 0 to %lld", where, v, (long long)classes - 1);
    return -1;
  }
  return 0;
}

int lt_data_check(lt_data *d, int64_t classes, char *why, size_t why_len) {
  lt_tensor t;
  int64_t row;
  int bad = 0;
  if ((!classes && !lt_is_float(d->dtype)) || (classes && d->classes && d->classes <= classes)) return 0;
  memset(&t, 0, sizeof t);
  snprintf(t.dtype, sizeof t.dtype, "%s", d->dtype);
  t.elem_bytes = d->elem_bytes;
  t.count = (int64_t)d->row_bytes / d->elem_bytes;
  t.data = malloc(d->row_bytes + 64);
  if (!t.data) { snprintf(why, why_len, "no memory"); return -1; }
  for (row = 0; row < d->rows && !bad; row++)
    bad = lt_data_rows(d, &row, 1, t.data, why, why_len) || check_row(d, &t, row, classes, why, why_len);
  free(t.data);
  return bad ? -1 : 0;
}
