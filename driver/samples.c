/* Sizes of free dims from the files that `lathe run` is going to read: arrays have shapes, images a width and a
 * height. Files whose size says nothing (raw bytes) and images that cannot be read give none; the program itself
 * will say what is wrong with them. */
#include "driver/driver.h"
#include "driver/ports.h"
#include <stdlib.h>

static bool has_ending(const char *path, const char *end) {
  size_t n = strlen(path), k = strlen(end);
  return n > k && !strcmp(path + n - k, end);
}

/* ---- images: only their headers ---- */

static int big16(const unsigned char *p) { return p[0] << 8 | p[1]; }

static bool png_size(const unsigned char *p, size_t n, int64_t *h, int64_t *w) {
  if (n < 24 || memcmp(p, "\x89PNG\r\n\x1a\n", 8)) return false;
  *w = (int64_t)big16(p + 16) << 16 | big16(p + 18);
  *h = (int64_t)big16(p + 20) << 16 | big16(p + 22);
  return true;
}

/* The first start-of-frame segment (SOF0 to SOF15 but DHT, JPG and DAC) holds them. */
static bool jpeg_size(const unsigned char *p, size_t n, int64_t *h, int64_t *w) {
  if (n < 4 || p[0] != 0xFF || p[1] != 0xD8) return false;
  for (size_t at = 2; at + 9 < n && p[at] == 0xFF; at += 2 + (size_t)big16(p + at + 2)) {
    int kind = p[at + 1];
    if (kind < 0xC0 || kind > 0xCF || kind == 0xC4 || kind == 0xC8 || kind == 0xCC) continue;
    *h = big16(p + at + 5);
    *w = big16(p + at + 7);
    return true;
  }
  return false;
}

/* A tensor of the input's type with the image's sizes, 1 for other free dims. It has no elements in memory. */
static const Tensor *image_sample(Arena *a, const char *path, const Type *t) {
  char why[300];
  size_t n;
  int64_t h = 0, w = 0;
  unsigned char *p = (unsigned char *)file_load(path, &n, why, sizeof why);
  bool known = p && (png_size(p, n, &h, &w) || jpeg_size(p, n, &h, &w));
  free(p);
  if (!known || t->rank < 2) return NULL;
  int last = t->rank - 1;
  bool behind = t->rank > 2 && (dim_is(t->dims[last], 1) || dim_is(t->dims[last], 3)) &&
                !(dim_is(t->dims[last - 2], 1) || dim_is(t->dims[last - 2], 3));           // channels are the last axis
  Tensor *s = NEW(a, Tensor);
  s->dtype = t->dtype;
  s->rank = t->rank;
  for (int k = 0; k < t->rank; k++) {
    int64_t free_size = k == last - behind ? w : k == last - 1 - behind ? h : 1;
    s->dims[k] = dim_is_const(t->dims[k]) ? t->dims[k].k : free_size;
  }
  return s;
}

/* ---- which file goes where ---- */

/* As lt_main.c: NAME=FILE to that input, the others in order. -1: there is no input left. */
static int input_of(const Ports *p, const char *word, const char **file) {
  for (int k = 0; k < p->nin; k++) {
    size_t len = strlen(p->in[k].name);
    if (!len || strncmp(word, p->in[k].name, len) || word[len] != '=') continue;
    *file = word + len + 1;
    return k;
  }
  *file = word;
  for (int k = 0; k < p->nin; k++)
    if (!p->in[k].value && !p->in[k].sample.bound) return k;
  return -1;
}

/* by_input: which file is whose, -1: nobody's. */
static bool sample_files(Ports *p, Arena *a, const Strings *files, int from, int *by_input, Diags *d) {
  bool any = false;
  for (int k = 0; k < p->nin; k++) by_input[k] = -1;
  for (int i = from; i < files->len; i++) {
    const char *file;
    int k = input_of(p, files->at[i], &file);
    if (k < 0) continue;
    bool array = has_ending(file, ".npy") || has_ending(file, ".pb");
    p->in[k].value = array ? tensor_of_file(a, file, d) : image_sample(a, file, &p->in[k].sample.type);
    any |= p->in[k].value != NULL;
    by_input[k] = i;
  }
  return any;
}

bool model_compile_ports(Compiled *c, const char *path, Options *o, Ports *p) {
  for (int round = 0; round < 8; round++) {
    if (model_compile(c, path, o)) return true;
    bool more = ports_adapt(p, &c->diags, false);
    compiled_drop(c);
    if (!more) break;
  }
  for (int k = 0; k < p->nin; k++) p->in[k].bound = false;     // the first messages are the ones to show
  o->quiet = false;
  return model_compile(c, path, o);
}

/* What is compiled in is no input of the program any more. */
static void drop_bound(const Ports *p, Strings *files, const int *by_input) {
  for (int k = 0; k < p->nin; k++)
    if (p->in[k].bound && by_input[k] >= 0) {
      fprintf(stderr, "%s = %lld is compiled in\n", p->in[k].name, (long long)tensor_get_int(p->in[k].value, 0));
      files->at[by_input[k]] = NULL;
    }
  int n = 0;
  for (int i = 0; i < files->len; i++)
    if (files->at[i]) files->at[n++] = files->at[i];
  files->len = n;
}

/* First without the files, which is all when no dim is free; it leaves the types of the inputs. */
static bool compile_for(Compiled *c, const char *path, Options *o, Arena *a, Strings *files, int from) {
  Ports ports = {0};
  Diags early = {.file = path};
  bool ok = ports_find(&ports, a, path, &early);
  o->ports = &ports;
  o->quiet = true;
  if (ok && !model_compile(c, path, o)) {
    int *by_input = NEW_N(a, int, ports.nin + 1);
    bool any = sample_files(&ports, a, files, from, by_input, &early);
    ok = any && !early.errors;
    if (ok || early.errors) compiled_drop(c);
    else compiled_free(c);                                     // its messages are the ones to show
    ok = ok && model_compile_ports(c, path, o, &ports);
    if (ok) drop_bound(&ports, files, by_input);
  }
  diags_print(&early, stderr);
  diags_free(&early);
  return ok;
}

bool model_compile_for(Compiled *c, const char *path, const Options *o, Strings *files, int from) {
  Arena a = {0};
  Options strict = *o;
  strict.want_dims = true;
  if (has_ending(path, ".ir") || is_language(path)) return model_compile(c, path, &strict);
  bool ok = compile_for(c, path, &strict, &a, files, from);
  if (ok) c->samples = a;
  else arena_free(&a);
  return ok;
}
