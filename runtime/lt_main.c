/* A standalone program around one compiled model: reads its inputs from files, runs it, prints its outputs.
 * Compile with -DLT_MODEL=lt_model_PREFIX, together with PREFIX*.c, lt_file.c, lt_image.c and lt_memory.c. */
#define _POSIX_C_SOURCE 200809L
#include "lt_file.h"
#include "lt_image.h"
#include "lt_memory.h"
#include "lt_model.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern const lt_model LT_MODEL;

static const lt_model *const m = &LT_MODEL;
static char why[1200];

static int die(const char *s) { fprintf(stderr, "%s: %s\n", m->name, s); exit(1); }

/* ---- describing ---- */

static void print_port(const char *label, const lt_port *p) {
  int k;
  printf("  %-7s %s  %s[", label, p->name, p->dtype);
  for (k = 0; k < p->rank; k++) printf("%s%s", k ? "," : "", p->dim_text[k]);
  printf("]\n");
}

static void help(void) {
  int i;
  printf("usage: %s [[NAME=]FILE ...] [-o [NAME=]FILE.npy] [--bench N]%s\n\n", m->name,
         m->weights ? "" : " [--weights FILE.bin]");
  printf("A network compiled by lathe for %s. Inputs are files: .npy, .pb (ONNX TensorProto), .png and .jpg\n"
         "(read as 0..1), or raw bytes. Without names they go to the inputs in order.\n\n", m->target);
  for (i = 0; i < m->inputs; i++) print_port("input", &m->in[i]);
  for (i = 0; i < m->outputs; i++) print_port("output", &m->out[i]);
  for (i = 0; i < m->symbols; i++)
    if (m->symbol[i].input >= 0)
      printf("  size    %s  %lld to %lld\n", m->symbol[i].name, (long long)m->symbol[i].lo,
             (long long)m->symbol[i].hi);
  printf("\n  -o [NAME=]FILE.npy  write an output to a file instead of the screen\n"
         "  --bench N           also time N calls\n");
}

/* ---- inputs ---- */

static int ends(const char *s, const char *end) {
  size_t n = strlen(s), k = strlen(end), i;
  if (n < k) return 0;
  for (i = 0; i < k; i++) {
    char c = s[n - k + i];
    if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != end[i]) return 0;
  }
  return 1;
}

static void as_port(lt_tensor *t, const lt_port *p) {
  int k;
  memset(t, 0, sizeof *t);
  snprintf(t->dtype, sizeof t->dtype, "%s", p->dtype);
  t->elem_bytes = p->elem_bytes;
  t->rank = p->rank;
  for (k = 0; k < p->rank; k++) t->dims[k] = p->dims[k];
}

static void load_raw(const char *path, lt_tensor *t, const lt_port *p) {
  int k;
  for (k = 0; k < p->rank; k++)
    if (p->dims[k] < 0) {
      snprintf(why, sizeof why, "%s: a raw file has no shape, and input '%s' has the free size %s; use .npy", path,
               p->name, p->dim_text[k]);
      die(why);
    }
  if (lt_raw_load(path, t, why, sizeof why)) die(why);
}

static void check_input(const char *path, const lt_tensor *t, const lt_port *p) {
  int k, bad = t->rank != p->rank, bits = t->elem_bytes == p->elem_bytes && t->dtype[0] == 'u' && p->elem_bytes <= 2;
  size_t n;
  for (k = 0; k < p->rank && !bad; k++) bad = p->dims[k] >= 0 && p->dims[k] != t->dims[k];
  if (!bad && (!strcmp(t->dtype, p->dtype) || (bits && lt_is_float(p->dtype)))) return;
  n = (size_t)snprintf(why, sizeof why, "%s: is %s[", path, t->dtype);
  for (k = 0; k < t->rank; k++)
    n += (size_t)snprintf(why + n, sizeof why - n, "%s%lld", k ? "," : "", (long long)t->dims[k]);
  n += (size_t)snprintf(why + n, sizeof why - n, "], input '%s' takes %s[", p->name, p->dtype);
  for (k = 0; k < p->rank; k++) n += (size_t)snprintf(why + n, sizeof why - n, "%s%s", k ? "," : "", p->dim_text[k]);
  snprintf(why + n, sizeof why - n, "]");
  die(why);
}

static void load_input(const char *path, lt_tensor *t, const lt_port *p) {
  as_port(t, p);
  if (ends(path, ".npy") || ends(path, ".pb")) {
    if (lt_file_load(path, t, why, sizeof why)) die(why);
    check_input(path, t, p);
  } else if (ends(path, ".png") || ends(path, ".jpg") || ends(path, ".jpeg") || ends(path, ".bmp") ||
             ends(path, ".pgm") || ends(path, ".ppm")) {
    if (lt_image_load(path, t, why, sizeof why)) die(why);
  } else {
    load_raw(path, t, p);
  }
}

/* "NAME=REST" with NAME among the ports: its index, and *rest; else -1. */
static int named(const char *s, const lt_port *p, int n, const char **rest) {
  int i;
  for (i = 0; i < n; i++) {
    size_t k = strlen(p[i].name);
    if (!strncmp(s, p[i].name, k) && s[k] == '=') { *rest = s + k + 1; return i; }
  }
  *rest = s;
  return -1;
}

/* ---- outputs ---- */

static void print_value(const lt_tensor *t, int64_t i) {
  if (lt_is_float(t->dtype)) printf("%.6g", lt_get(t, i));
  else if (t->elem_bytes == 8) printf("%lld", ((const long long *)t->data)[i]);
  else printf("%.0f", lt_get(t, i));
}

/* The largest values of one row, with their positions. */
static void print_top(const lt_tensor *t, int64_t from, int64_t n) {
  int64_t best[5], i;
  int k, j, have = 0;
  for (i = 0; i < n; i++) {
    double v = lt_get(t, from + i);
    for (k = have; k > 0 && !(lt_get(t, from + best[k - 1]) >= v); k--)
      if (k < 5) best[k] = best[k - 1];
    if (k < 5) { best[k] = i; if (have < 5) have++; }
  }
  for (j = 0; j < have; j++) {
    printf("%s%lld: ", j ? "   " : "  ", (long long)best[j]);
    print_value(t, from + best[j]);
  }
  printf("\n");
}

static void print_output(const char *name, const lt_tensor *t) {
  int64_t last = t->rank ? t->dims[t->rank - 1] : 1, rows = last ? t->count / last : 0, i;
  int k;
  printf("%s %s[", name, t->dtype);
  for (k = 0; k < t->rank; k++) printf("%s%lld", k ? "," : "", (long long)t->dims[k]);
  printf("]");
  if (rows == 1 && last > 5 && lt_is_float(t->dtype)) {
    printf("  largest of %lld:\n", (long long)last);
    print_top(t, 0, last);
    return;
  }
  if (t->count <= 64) {
    printf("\n");
    for (i = 0; i < t->count; i++) {
      printf(i % last ? " " : "  ");
      print_value(t, i);
      if ((i + 1) % last == 0) printf("\n");
    }
    return;
  }
  if (rows <= 8 && lt_is_float(t->dtype)) {
    printf("  largest of each row:\n");
    for (i = 0; i < rows; i++) print_top(t, i * last, last);
    return;
  }
  {
    double lo = HUGE_VAL, hi = -HUGE_VAL, sum = 0;
    for (i = 0; i < t->count; i++) {
      double v = lt_get(t, i);
      if (v < lo) lo = v;
      if (v > hi) hi = v;
      sum += v;
    }
    printf("  from %.6g to %.6g, mean %.6g\n ", lo, hi, sum / (double)t->count);
    for (i = 0; i < 8; i++) { printf(" "); print_value(t, i); }
    printf(" ...  (-o %s=FILE.npy for all)\n", name);
  }
}

/* ---- running ---- */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *x, const void *y) {
  double a = *(const double *)x, b = *(const double *)y;
  return a < b ? -1 : a > b;
}

static void *aligned(size_t bytes) {
  void *p = lt_alloc(bytes);
  if (!p) die("out of memory");
  return p;
}

/* Linked in, or NAME.bin beside the program. */
static const void *find_weights(const char *self, const char *given) {
  char path[1000];
  const char *slash = strrchr(self, '/');
  const void *w;
  size_t n = 0;
  void *file;
  uint64_t hash;
  if (m->weights) return *m->weights;
  if (given) snprintf(path, sizeof path, "%s", given);
  else snprintf(path, sizeof path, "%.*s%s.bin", slash ? (int)(slash - self + 1) : 0, self, m->name);
  file = lt_read_file(path, &n, why, sizeof why);
  if (!file) die(why);
  w = m->open(file, n);
  if (!w) { snprintf(why, sizeof why, "%s does not hold this model's weights", path); die(why); }
  memcpy(&hash, (const char *)file + 32, 8);                   /* the header's last field */
  if (hash != lt_xxh64(w, m->weights_bytes)) { snprintf(why, sizeof why, "%s is damaged", path); die(why); }
  return w;
}

static void bench(const void *w, void *arena, int64_t *symbols, const void *const *in, void *const *out, int n) {
  double *t = malloc(sizeof *t * (size_t)n);
  int i;
  if (!t) die("out of memory");
  for (i = 0; i < n; i++) {
    double start = now();
    m->run(w, arena, symbols, in, out);
    t[i] = (now() - start) * 1e3;
  }
  qsort(t, (size_t)n, sizeof *t, by_value);
  printf("%d calls: median %.4f ms, fastest %.4f, slowest %.4f\n", n, t[n / 2], t[0], t[n - 1]);
  free(t);
}

int main(int argc, char **argv) {
  lt_tensor *in = calloc((size_t)m->inputs + 1, sizeof *in), *out = calloc((size_t)m->outputs + 1, sizeof *out);
  const char **save = calloc((size_t)m->outputs + 1, sizeof *save);
  const void **inp = calloc((size_t)m->inputs + 1, sizeof *inp);
  void **outp = calloc((size_t)m->outputs + 1, sizeof *outp);
  int64_t *symbols = calloc((size_t)m->symbols + 1, sizeof *symbols),
          *upper = calloc((size_t)m->symbols + 1, sizeof *upper);
  const char *weights_file = NULL;
  const void *weights;
  void *arena;
  int i, k, code, calls = 0;
  if (!in || !out || !save || !inp || !outp || !symbols || !upper) die("out of memory");

  for (i = 1; i < argc; i++) {
    const char *rest, *s = argv[i];
    if (!strcmp(s, "--help") || !strcmp(s, "-h")) { help(); return 0; }
    if (s[0] == '-' && s[1]) {
      if (i + 1 == argc) die("an option is unknown or wants a value; --help lists them");
      if (!strcmp(s, "--bench")) calls = atoi(argv[++i]);
      else if (!strcmp(s, "--weights")) weights_file = argv[++i];
      else if (!strcmp(s, "-o")) {
        k = named(argv[++i], m->out, m->outputs, &rest);
        if (k < 0 && m->outputs > 1) die("-o wants NAME=FILE: the model has several outputs");
        save[k < 0 ? 0 : k] = rest;
      } else {
        die("an option is unknown; --help lists them");
      }
      continue;
    }
    k = named(s, m->in, m->inputs, &rest);
    if (k < 0)
      for (k = 0; k < m->inputs && in[k].data; k++) continue;
    if (k == m->inputs) die("more files than inputs; --help lists the inputs");
    lt_tensor_free(&in[k]);
    load_input(rest, &in[k], &m->in[k]);
  }
  for (i = 0; i < m->inputs; i++)
    if (!in[i].data) {
      snprintf(why, sizeof why, "input '%s' is missing; --help lists the inputs", m->in[i].name);
      die(why);
    }

  for (i = 0; i < m->symbols; i++) {
    const lt_symbol *s = &m->symbol[i];
    symbols[i] = s->input >= 0 ? in[s->input].dims[s->axis] : 0;
    upper[i] = s->input >= 0 ? symbols[i] : s->hi;
    if (s->input >= 0 && (symbols[i] < s->lo || symbols[i] > s->hi)) {
      snprintf(why, sizeof why, "%s is %lld; this program was compiled for %lld to %lld", s->name,
               (long long)symbols[i], (long long)s->lo, (long long)s->hi);
      die(why);
    }
  }
  for (i = 0; i < m->outputs; i++) {                           /* room for the largest the data can ask for */
    as_port(&out[i], &m->out[i]);
    m->out_dims(upper, i, out[i].dims);
    out[i].count = 1;
    for (k = 0; k < out[i].rank; k++) out[i].count *= out[i].dims[k];
    outp[i] = out[i].data = aligned((size_t)out[i].count * (size_t)out[i].elem_bytes);
  }
  for (i = 0; i < m->inputs; i++) inp[i] = in[i].data;
  weights = find_weights(argv[0], weights_file);
  arena = aligned(m->arena_bytes(symbols));

  code = m->run(weights, arena, symbols, inp, outp);
  if (code) die(m->error(code));
  if (calls > 0) bench(weights, arena, symbols, inp, outp, calls);
  for (i = 0; i < m->outputs; i++) {
    m->out_dims(symbols, i, out[i].dims);
    out[i].count = 1;
    for (k = 0; k < out[i].rank; k++) out[i].count *= out[i].dims[k];
    if (!save[i]) print_output(m->out[i].name, &out[i]);
    else if (lt_npy_save(save[i], &out[i], why, sizeof why)) die(why);
  }
  return 0;
}
