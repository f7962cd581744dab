/* csv: numbers of a table as f32. Every record must have as many fields as the first. */
#include "lt_csv.h"
#include "lt_data_kit.h"
#include "lt_data_table.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_number(const char *s) {
  char *end;
  strtod(s, &end);
  return end != s && end[strspn(end, " \t")] == 0;
}

/* The separator of `separator=`, or by the name's end. */
static char separator_of(const lt_data *d) {
  const char *s = lt_data_option(d, "separator"), *file = d->reader->arg[0].text;
  size_t n = strlen(file);
  if (s && *s) return *s;
  return n > 4 && !strcmp(file + n - 4, ".tsv") ? '\t' : ',';
}

/* The index of a column; -1 after an error. */
static int find_column(lt_data *d, const lt_table *t, const char *name, int quoted) {
  char names[300] = "";
  size_t len = 0;
  int k;
  char *end;
  long number = strtol(name, &end, 10);
  for (k = 0; t->header && k < t->fields; k++)
    if (!strcmp(t->name[k], name)) return k;
  if (!quoted || !*end) {
    if (!*end && number >= 1 && number <= t->fields) return (int)number - 1;
    return lt_data_fail(d, "%s has %d columns; there is no column %s", t->file, t->fields, name);
  }
  if (!t->header)
    return lt_data_fail(d, "%s: its first line is no header, so columns are numbers: column=1 to %d", t->file,
                        t->fields);
  for (k = 0; k < t->fields && len + 2 < sizeof names; k++) {
    int n = snprintf(names + len, sizeof names - len, "%s%.40s", k ? ", " : "", t->name[k]);
    len += (size_t)n;
  }
  return lt_data_fail(d, "%s has no column '%s'; it has %s", t->file, name, names);
}

int lt_table_column(lt_data *d, const lt_table *t) {
  const lt_data_reader *r = d->reader;
  int k;
  for (k = r->files; k < r->args; k++)
    if (!strcmp(r->arg[k].key, "column")) return find_column(d, t, r->arg[k].text, r->arg[k].quoted);
  return lt_data_fail(d, "%s wants column=…", r->name);
}

/* Reads the first record: the header, or where the first row begins. */
int lt_table_open(lt_data *d, lt_table *t, int file) {
  size_t n;
  int k, numbers = 1, got;
  char inner[400];
  const char *s = lt_data_option(d, "header");
  memset(t, 0, sizeof *t);
  t->file = d->reader->arg[file].text;
  t->bytes = lt_data_bytes(d, file, &n);
  if (!t->bytes) return -1;
  lt_csv_start(&t->csv, t->bytes, n, separator_of(d));
  got = lt_csv_next(&t->csv, inner, sizeof inner);
  if (got < 0) return lt_data_fail(d, "%s, %s", t->file, inner);
  if (got == 0) return lt_data_fail(d, "%s holds no rows", t->file);
  t->fields = t->csv.fields;
  for (k = 0; k < t->fields; k++) numbers = numbers && (is_number(t->csv.field[k].text) || !t->csv.field[k].length);
  t->header = s ? !strcmp(s, "true") : !numbers;
  t->pending = !t->header;
  if (!t->header) return 0;
  t->name = lt_data_keep(d, sizeof *t->name * (size_t)t->fields);
  for (k = 0; t->name && k < t->fields; k++) {
    const char *name = t->csv.field[k].text;
    size_t length = strlen(name += strspn(name, " \t"));
    while (length && (name[length - 1] == ' ' || name[length - 1] == '\t')) length--;
    t->name[k] = lt_data_keep_text(d, name, length);
    if (!t->name[k]) return -1;
  }
  return t->name ? 0 : -1;
}

int lt_table_next(lt_data *d, lt_table *t) {
  char inner[400];
  int got = 1;
  if (t->pending) t->pending = 0;
  else got = lt_csv_next(&t->csv, inner, sizeof inner);
  if (got < 0) return lt_data_fail(d, "%s, %s", t->file, inner);
  if (got && t->csv.fields != t->fields)
    return lt_data_fail(d, "%s, line %lld: has %d fields, the first line has %d", t->file, (long long)t->csv.line,
                        t->csv.fields, t->fields);
  return got;
}

void lt_table_close(lt_table *t) { lt_csv_free(&t->csv); }

/* ---- the reader ---- */

static void where(const lt_data *d, int64_t row, char *text, size_t text_len) {
  const int32_t *line = d->reader->own;
  snprintf(text, text_len, "%s, line %d", d->reader->arg[0].text, line[row]);
}

/* Which columns: *n of them. */
static int *pick_columns(lt_data *d, const lt_table *t, int *n) {
  const char *list = lt_data_option(d, "columns");
  int *pick = lt_data_keep(d, sizeof *pick * (size_t)(t->fields + (list ? (int)strlen(list) : 0) + 1)), k;
  *n = 0;
  if (!pick) return NULL;
  if (!list && !lt_data_option(d, "column")) {
    for (k = 0; k < t->fields; k++) pick[(*n)++] = k;
    return pick;
  }
  if (!list) {
    pick[0] = lt_table_column(d, t);
    *n = 1;
    return pick[0] < 0 ? NULL : pick;
  }
  for (;;) {
    size_t len = strcspn(list += strspn(list, " "), ","), used = len;
    char name[200];
    while (used && list[used - 1] == ' ') used--;
    snprintf(name, sizeof name, "%.*s", (int)used, list);
    k = find_column(d, t, name, 1);
    if (k < 0) return NULL;
    pick[(*n)++] = k;
    if (!list[len]) return pick;
    list += len + 1;
  }
}

static int read_number(lt_data *d, const lt_table *t, int k, const char *missing, float *to) {
  const char *s = t->csv.field[k].text;
  char column[100];
  if (!s[strspn(s, " \t")] && missing) s = missing;
  if (is_number(s)) { *to = strtof(s, NULL); return 0; }
  if (t->header) snprintf(column, sizeof column, "column '%.60s'", t->name[k]);
  else snprintf(column, sizeof column, "column %d", k + 1);
  if (!s[strspn(s, " \t")])
    return lt_data_fail(d, "%s, line %lld, %s: is empty; missing=0 would read it as 0", t->file,
                        (long long)t->csv.line, column);
  return lt_data_fail(d, "%s, line %lld, %s: '%.60s' is not a number", t->file, (long long)t->csv.line, column, s);
}

static int read_rows(lt_data *d, lt_table *t, const int *pick, int n) {
  const char *missing = lt_data_option(d, "missing");
  int64_t room = 0;
  float *value = NULL;
  int32_t *line = NULL;
  int got, k;
  for (d->rows = 0; (got = lt_table_next(d, t)) > 0; d->rows++) {
    if (d->rows == room) {                                     /* copied, as kept blocks cannot move */
      float *more = lt_data_keep(d, (size_t)(room = 2 * room + 256) * (size_t)n * sizeof *more);
      int32_t *lines = more ? lt_data_keep(d, (size_t)room * sizeof *lines) : NULL;
      if (!lines) return -1;
      if (d->rows) memcpy(more, value, (size_t)d->rows * (size_t)n * sizeof *more);
      if (d->rows) memcpy(lines, line, (size_t)d->rows * sizeof *lines);
      lt_data_drop(d, value);
      lt_data_drop(d, line);
      value = more;
      line = lines;
    }
    line[d->rows] = (int32_t)t->csv.line;
    for (k = 0; k < n; k++)
      if (read_number(d, t, pick[k], missing, &value[d->rows * n + k])) return -1;
  }
  d->reader->dense = (const char *)value;
  d->reader->own = line;
  d->reader->where = where;
  return got;
}

int lt_data_open_csv(lt_data *d) {
  lt_table t;
  int n = 0, bad = lt_table_open(d, &t, 0);
  if (!bad) {
    int *pick = pick_columns(d, &t, &n);
    int64_t dims[1];
    dims[0] = n;
    bad = !pick || read_rows(d, &t, pick, n);
    lt_data_shape(d, "f32", lt_data_option(d, "column") ? 0 : 1, dims);
    lt_data_drop(d, t.bytes);
  }
  lt_table_close(&t);
  return bad;
}
