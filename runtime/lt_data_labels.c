/* labels: classes as i32, in the order of the files given; or, when they are texts (of a column, or first words),
 * sorted: by value when all are integers, else by bytes. */
#include "lt_data_kit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "a.zip/b/female.txt" -> "female" */
static const char *class_name(const char *file, int32_t *length) {
  const char *slash = strrchr(file, '/');
  size_t n;
  if (slash && slash[1]) file = slash + 1;
  n = strlen(file);
  if (n > 4 && !strcmp(file + n - 4, ".txt")) n -= 4;
  *length = (int32_t)n;
  return file;
}

static int by_file(lt_data *d, const lt_line *line, int32_t *to) {
  const char *text[LT_MAX_ARGS];
  int32_t length[LT_MAX_ARGS];
  int64_t i;
  int k;
  for (k = 0; k < d->reader->files; k++) text[k] = class_name(d->reader->arg[k].text, &length[k]);
  for (i = 0; i < d->rows; i++) to[i] = line[i].file;
  return lt_data_tokens(d, k, text, length);
}

typedef struct label { const char *text; int32_t length; int64_t value; int is_number; int64_t row; } label;

static int by_text(const void *x, const void *y) {
  const label *a = x, *b = y;
  int n = a->length < b->length ? a->length : b->length, c;
  if (a->is_number) return a->value < b->value ? -1 : a->value > b->value;
  c = memcmp(a->text, b->text, (size_t)n);
  return c ? c : a->length - b->length;
}

/* Every row's text; numbers only when all are. */
static label *read_labels(lt_data *d, const lt_line *line) {
  label *l = lt_data_keep(d, sizeof *l * (size_t)d->rows);
  int64_t i;
  int numbers = 1;
  if (!l) return NULL;
  for (i = 0; i < d->rows; i++) {
    char copy[24], *end;
    l[i].text = line[i].label ? line[i].label : line[i].text;
    l[i].length = line[i].label ? line[i].label_length : line[i].length;
    l[i].row = i;
    if (!l[i].length) {
      lt_data_fail(d, "%s, line %d: the label is empty", d->reader->arg[line[i].file].text, line[i].number);
      return NULL;
    }
    snprintf(copy, sizeof copy, "%.*s", (int)(l[i].length < 20 ? l[i].length : 20), l[i].text);
    l[i].value = strtoll(copy, &end, 10);
    numbers = numbers && l[i].length < 19 && !*end;
  }
  for (i = 0; i < d->rows; i++) l[i].is_number = numbers;
  return l;
}

static int by_label(lt_data *d, const lt_line *line, int32_t *to) {
  label *l = read_labels(d, line);
  const char **text = l ? lt_data_keep(d, sizeof *text * (size_t)d->rows) : NULL;
  int32_t *length = text ? lt_data_keep(d, sizeof *length * (size_t)d->rows) : NULL, k = 0;
  int64_t i;
  int bad;
  if (!length) return -1;
  qsort(l, (size_t)d->rows, sizeof *l, by_text);
  for (i = 0; i < d->rows; i++) {
    if (!i || by_text(&l[i - 1], &l[i])) { text[k] = l[i].text; length[k++] = l[i].length; }
    to[l[i].row] = k - 1;
  }
  bad = lt_data_tokens(d, k, text, length);
  lt_data_drop(d, length);
  lt_data_drop(d, (void *)text);
  lt_data_drop(d, l);
  return bad;
}

int lt_data_open_labels(lt_data *d) {
  char path[LT_PATH];
  struct stat st;
  lt_line *line;
  int32_t *to;
  int64_t n;
  if (!lt_data_path(d, 0, path)) return -1;
  if (!stat(path, &st) && S_ISDIR(st.st_mode)) return lt_data_open_folders(d);
  line = lt_data_lines(d, &n);
  to = line ? lt_data_keep(d, sizeof *to * (size_t)n) : NULL;
  if (!to) return -1;
  if (lt_data_option(d, "column") || lt_data_option(d, "label") ? by_label(d, line, to) : by_file(d, line, to))
    return -1;
  d->reader->dense = (const char *)to;
  lt_data_shape(d, "i32", 0, NULL);
  return lt_data_lines_drop(d, line);
}
