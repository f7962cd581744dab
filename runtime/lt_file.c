/* See lt_file.h. The .npy format: numpy/lib/format.py; TensorProto: onnx.proto, in protobuf's wire format. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_file.h"
#include "lt_memory.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* npy: the code NumPy writes; types it lacks go as unsigned bits of their size */
typedef struct type_row { const char *name, *npy; int bytes, onnx, bits; } type_row;
static const type_row types[] = {
  {"f32", "f4", 4, 1, 32}, {"f64", "f8", 8, 11, 64}, {"f16", "f2", 2, 10, 16},
  {"i8", "i1", 1, 3, 8}, {"i16", "i2", 2, 5, 16}, {"i32", "i4", 4, 6, 32}, {"i64", "i8", 8, 7, 64},
  {"u8", "u1", 1, 2, 8}, {"u16", "u2", 2, 4, 16}, {"u32", "u4", 4, 12, 32}, {"u64", "u8", 8, 13, 64},
  {"bool", "b1", 1, 9, 8},
  {"bf16", "u2", 2, 16, 16}, {"f8e4m3fn", "u1", 1, 17, 8}, {"f8e4m3fnuz", "u1", 1, 18, 8}, {"f8e5m2", "u1", 1, 19, 8},
  {"f8e5m2fnuz", "u1", 1, 20, 8}, {"f8e8m0", "u1", 1, 24, 8}, {"f4e2m1", "u1", 1, 23, 4},
  {"i4", "i1", 1, 22, 4}, {"u4", "u1", 1, 21, 4}, {"i2", "i1", 1, 26, 2}, {"u2", "u1", 1, 25, 2},
};
enum { TYPES = sizeof types / sizeof *types };

static const type_row *type_of(const char *name) {
  int i;
  for (i = 0; i < TYPES; i++)
    if (!strcmp(types[i].name, name)) return &types[i];
  return NULL;
}

int lt_elem_bytes(const char *dtype) { const type_row *t = type_of(dtype); return t ? t->bytes : 0; }
int lt_is_float(const char *dtype) { return dtype[0] == 'f' || !strcmp(dtype, "bf16"); }

int lt_fail(char *why, size_t n, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, n, fmt, ap);
  va_end(ap);
  return -1;
}

void lt_type_text(const char *dtype, int rank, const int64_t *dims, char *text, size_t n) {
  size_t len = (size_t)snprintf(text, n, "%s[", dtype);
  int k;
  for (k = 0; k < rank && len < n; k++)
    len += (size_t)snprintf(text + len, n - len, "%s%lld", k ? "," : "", (long long)dims[k]);
  if (len < n) snprintf(text + len, n - len, "]");
}

void lt_tensor_free(lt_tensor *t) { free(t->data); t->data = NULL; }

void *lt_read_file(const char *path, size_t *n, char *why, size_t why_len) {
  FILE *f = fopen(path, "rb");
  void *p = NULL;
  long size;
  if (!f) { lt_fail(why, why_len, "cannot open %s: %s", path, strerror(errno)); return NULL; }
  if (fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0 || size > LONG_MAX - 64 || fseek(f, 0, SEEK_SET)) {
    lt_fail(why, why_len, "cannot read %s: not an ordinary file", path);
  } else if (!(p = lt_alloc((size_t)size))) {
    lt_fail(why, why_len, "%s: no memory for %ld bytes", path, size);
  } else if (fread(p, 1, (size_t)size, f) != (size_t)size) {
    lt_fail(why, why_len, "cannot read %s: %s", path, errno ? strerror(errno) : "it ends early");
    free(p);
    p = NULL;
  } else {
    *n = (size_t)size;
  }
  fclose(f);
  return p;
}

/* Sets type and count, allocates. */
static int make(lt_tensor *t, const type_row *type, char *why, size_t n) {
  int k;
  snprintf(t->dtype, sizeof t->dtype, "%s", type->name);
  t->elem_bytes = type->bytes;
  t->count = 1;
  for (k = 0; k < t->rank; k++) {
    if (t->dims[k] < 0 || (t->dims[k] && t->count > INT64_MAX / 16 / t->dims[k]))
      return lt_fail(why, n, "the shape is damaged");
    t->count *= t->dims[k];
  }
  t->data = lt_alloc((size_t)t->count * (size_t)t->elem_bytes);
  if (!t->data)
    return lt_fail(why, n, "no memory for %lld elements", (long long)t->count);
  memset(t->data, 0, (size_t)t->count * (size_t)t->elem_bytes + 64);
  return 0;
}

/* ---- .npy ---- */

static void swap_bytes(lt_tensor *t) {
  int64_t i;
  int k, b = t->elem_bytes;
  for (i = 0; i < t->count; i++) {
    unsigned char *p = (unsigned char *)t->data + i * b;
    for (k = 0; k < b / 2; k++) { unsigned char x = p[k]; p[k] = p[b - 1 - k]; p[b - 1 - k] = x; }
  }
}

/* Column-major data to row-major. */
static void from_fortran(lt_tensor *t, const char *src) {
  int64_t i, index[LT_MAX_RANK] = {0};
  int k;
  for (i = 0; i < t->count; i++) {
    int64_t at = 0;
    for (k = t->rank - 1; k >= 0; k--) at = at * t->dims[k] + index[k];
    memcpy((char *)t->data + i * t->elem_bytes, src + at * t->elem_bytes, (size_t)t->elem_bytes);
    for (k = t->rank - 1; k >= 0 && ++index[k] == t->dims[k]; k--) index[k] = 0;
  }
}

int lt_npy_parse(const void *bytes, size_t n, lt_tensor *t, char *why, size_t why_len) {
  const unsigned char *p = bytes;
  size_t head, start;
  char text[1024], *s, order;
  const type_row *type = NULL;
  int i, fortran;
  memset(t, 0, sizeof *t);
  if (n < 10 || memcmp(p, "\x93NUMPY", 6)) return lt_fail(why, why_len, "not a .npy file");
  head = p[8] | (size_t)p[9] << 8;
  start = 10;
  if (p[6] >= 2) {
    if (n < 12) return lt_fail(why, why_len, "the .npy header is cut off");
    head |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
    start = 12;
  }
  if (head >= sizeof text || n - start < head) return lt_fail(why, why_len, "the .npy header is damaged");
  memcpy(text, p + start, head);
  text[head] = 0;
  s = strstr(text, "'descr'");
  s = s ? strchr(s + 7, '\'') : NULL;
  if (!s || s[1] == 0 || s[2] == 0) return lt_fail(why, why_len, "the .npy header has no element type");
  order = s[1];
  for (i = 0; i < TYPES && !type; i++)
    if (!strncmp(s + 2, types[i].npy, 2) && s[4] == '\'') type = &types[i];
  if (!type && s[2] == 'V' && (s[3] == '1' || s[3] == '2') && s[4] == '\'') type = type_of(s[3] == '1' ? "u8" : "u16");
  if (!type)
    return lt_fail(why, why_len, "element type %.*s of the .npy file is not supported", (int)strcspn(s + 1, "'"),
                   s + 1);
  s = strstr(text, "'fortran_order'");
  s = s ? strchr(s, ':') : NULL;
  fortran = s && strncmp(s + 1 + strspn(s + 1, " "), "True", 4) == 0;
  s = strstr(text, "'shape'");
  s = s ? strchr(s, '(') : NULL;
  if (!s) return lt_fail(why, why_len, "the .npy header has no shape");
  for (s++;;) {
    char *end;
    s += strspn(s, " ,");
    if (*s == ')' || !*s) break;
    if (t->rank == LT_MAX_RANK) return lt_fail(why, why_len, "more than %d dimensions", LT_MAX_RANK);
    t->dims[t->rank++] = strtoll(s, &end, 10);
    if (end == s) return lt_fail(why, why_len, "the .npy header's shape is damaged");
    s = end + (*end == 'L');
  }
  if (make(t, type, why, why_len)) return -1;
  start += head;
  if (n - start < (size_t)t->count * (size_t)t->elem_bytes) {
    lt_tensor_free(t);
    return lt_fail(why, why_len, "the .npy file ends early");
  }
  if (fortran && t->rank > 1) from_fortran(t, (const char *)p + start);
  else memcpy(t->data, p + start, (size_t)t->count * (size_t)t->elem_bytes);
  if (order == '>') swap_bytes(t);
  return 0;
}

int lt_npy_save(const char *path, const lt_tensor *t, char *why, size_t why_len) {
  const type_row *type = type_of(t->dtype);
  char head[512], shape[400] = "";
  size_t len = 0, total;
  int k, bad;
  FILE *f;
  if (!type) return lt_fail(why, why_len, "%s: type %s cannot be written", path, t->dtype);
  for (k = 0; k < t->rank; k++)
    len += (size_t)snprintf(shape + len, sizeof shape - len, "%lld,%s", (long long)t->dims[k],
                            k + 1 < t->rank ? " " : "");
  if (t->rank > 1) shape[len - 1] = 0;                         /* (2, 3) but (3,) */
  len = (size_t)snprintf(head + 10, sizeof head - 10, "{'descr': '%c%s', 'fortran_order': False, 'shape': (%s), }",
                         type->bytes == 1 ? '|' : '<', type->npy, shape);
  total = (10 + len + 1 + 63) / 64 * 64;
  memset(head + 10 + len, ' ', total - 10 - len);
  head[total - 1] = '\n';
  memcpy(head, "\x93NUMPY\x01\x00", 8);
  head[8] = (char)((total - 10) & 255);
  head[9] = (char)((total - 10) >> 8);
  f = fopen(path, "wb");
  if (!f) return lt_fail(why, why_len, "cannot write %s: %s", path, strerror(errno));
  bad = fwrite(head, 1, total, f) != total;
  total = (size_t)t->count * (size_t)t->elem_bytes;
  if (!bad && total) bad = fwrite(t->data, 1, total, f) != total;
  if (fclose(f)) bad = 1;
  if (!bad) return 0;
  remove(path);
  return lt_fail(why, why_len, "cannot write %s: %s", path, strerror(errno));
}

/* ---- TensorProto ---- */

typedef struct wire { const unsigned char *p, *end; int bad; } wire;
typedef struct field { int number, type; uint64_t value; const unsigned char *p; size_t n; } field;

static uint64_t varint(wire *w) {
  uint64_t v = 0;
  int shift;
  for (shift = 0; shift < 64; shift += 7) {
    if (w->p == w->end) { w->bad = 1; return 0; }
    v |= (uint64_t)(*w->p & 127) << shift;
    if (!(*w->p++ & 128)) return v;
  }
  w->bad = 1;
  return 0;
}

static int next_field(wire *w, field *f) {
  uint64_t key, n = 0;
  if (w->p == w->end || w->bad) return 0;
  key = varint(w);
  f->number = (int)(key >> 3);
  f->type = (int)(key & 7);
  f->p = w->p;
  if (f->type == 0) f->value = varint(w);
  else if (f->type == 1) n = 8;
  else if (f->type == 5) n = 4;
  else if (f->type == 2) { n = varint(w); f->p = w->p; }
  else w->bad = 1;
  if (w->bad || n > (uint64_t)(w->end - w->p)) { w->bad = 1; return 0; }
  f->n = (size_t)n;
  w->p += n;
  return 1;
}

/* A packed or single number field: calls give() for each value. */
static int64_t put_varints(const field *f, int64_t at, int64_t count, lt_tensor *t, int64_t *dims, int *rank) {
  wire w;
  w.p = f->p; w.end = f->p + f->n; w.bad = 0;
  do {
    uint64_t v = f->type == 2 ? (w.p == w.end ? 0 : varint(&w)) : f->value;
    if (f->type == 2 && f->n == 0) break;
    if (w.bad) return -1;
    if (dims) {
      if (*rank == LT_MAX_RANK) return -1;
      dims[(*rank)++] = (int64_t)v;
    } else {
      if (at >= count) return -1;
      memcpy((char *)t->data + at * t->elem_bytes, &v, (size_t)t->elem_bytes);   /* little-endian: the low bytes */
      at++;
    }
  } while (f->type == 2 && w.p != w.end);
  return at;
}

static void unpack(lt_tensor *t, const unsigned char *p, int bits) {
  int64_t i;
  int is_signed = t->dtype[0] == 'i', per = 8 / bits, mask = (1 << bits) - 1;
  for (i = 0; i < t->count; i++) {
    int v = p[i / per] >> (bits * (int)(i % per)) & mask;
    if (is_signed && v >> (bits - 1)) v -= 1 << bits;
    ((signed char *)t->data)[i] = (signed char)v;
  }
}

int lt_pb_parse(const void *bytes, size_t n, lt_tensor *t, char *why, size_t why_len) {
  wire w;
  field f;
  int64_t at = 0;
  int i, code = 0;
  const type_row *type = NULL;
  memset(t, 0, sizeof *t);
  w.p = bytes; w.end = w.p + n; w.bad = 0;
  while (next_field(&w, &f)) {                                 /* first the shape and the type */
    if (f.number == 1 && put_varints(&f, 0, 0, NULL, t->dims, &t->rank) < 0)
      return lt_fail(why, why_len, "more than %d dimensions", LT_MAX_RANK);
    if (f.number == 2 && f.type == 0) code = (int)f.value;
    if (f.number == 14 && f.type == 0 && f.value == 1)
      return lt_fail(why, why_len, "the tensor's data is in another file");
  }
  if (w.bad) return lt_fail(why, why_len, "not a TensorProto, or damaged");
  for (i = 0; i < TYPES; i++)
    if (types[i].onnx == code) type = &types[i];
  if (!type) return lt_fail(why, why_len, "ONNX element type %d is not supported", code);
  if (make(t, type, why, why_len)) return -1;
  w.p = bytes;
  while (next_field(&w, &f) && at >= 0) {
    size_t want = (size_t)t->count * (size_t)t->elem_bytes;
    if (f.number == 9) {
      size_t packed = ((size_t)t->count * (size_t)type->bits + 7) / 8;
      if (f.n != packed) { at = -1; break; }
      if (type->bits < 8) unpack(t, f.p, type->bits);
      else if (want) memcpy(t->data, f.p, want);
      at = t->count;
    } else if ((f.number == 4 || f.number == 10) && (f.type == 2 || f.type == 1 || f.type == 5)) {
      if (f.n > want - (size_t)at * (size_t)t->elem_bytes) { at = -1; break; }
      memcpy((char *)t->data + at * t->elem_bytes, f.p, f.n);
      at += (int64_t)f.n / t->elem_bytes;
    } else if (f.number == 5 || f.number == 7 || f.number == 11) {
      if (type->bits < 8) {                                    /* int32_data holds packed bytes */
        unsigned char *packed = malloc((size_t)t->count + 8);
        lt_tensor b;
        if (!packed) { at = -1; break; }
        memset(&b, 0, sizeof b);
        b.elem_bytes = 1;
        b.data = packed;
        if (put_varints(&f, 0, (t->count * type->bits + 7) / 8, &b, NULL, NULL) < 0) at = -1;
        else { unpack(t, packed, type->bits); at = t->count; }
        free(packed);
      } else {
        at = put_varints(&f, at, t->count, t, NULL, NULL);
      }
    }
  }
  if (at != t->count) {
    lt_tensor_free(t);
    return lt_fail(why, why_len, "the tensor's data does not fit its shape");
  }
  return 0;
}

/* ---- files ---- */

int lt_file_load(const char *path, lt_tensor *t, char *why, size_t why_len) {
  size_t n = 0, len = strlen(path);
  char inner[200];
  int r;
  void *p;
  int npy = len > 4 && !strcmp(path + len - 4, ".npy");
  memset(t, 0, sizeof *t);
  if (!npy && !(len > 3 && !strcmp(path + len - 3, ".pb")))
    return lt_fail(why, why_len, "%s: the name ends in neither .npy nor .pb", path);
  p = lt_read_file(path, &n, why, why_len);
  if (!p) return -1;
  r = npy ? lt_npy_parse(p, n, t, inner, sizeof inner) : lt_pb_parse(p, n, t, inner, sizeof inner);
  free(p);
  return r ? lt_fail(why, why_len, "%s: %s", path, inner) : 0;
}

int lt_raw_load(const char *path, lt_tensor *t, char *why, size_t why_len) {
  size_t n = 0, want;
  int k;
  t->count = 1;
  for (k = 0; k < t->rank; k++) t->count *= t->dims[k];
  want = (size_t)t->count * (size_t)t->elem_bytes;
  t->data = lt_read_file(path, &n, why, why_len);
  if (!t->data) return -1;
  if (n == want) return 0;
  lt_tensor_free(t);
  return lt_fail(why, why_len, "%s has %zu bytes, the input takes %zu", path, n, want);
}

/* ---- elements ---- */

static double half(unsigned h) {
  int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
  double scale = e > 25 ? (double)(1 << (e - 25)) : 1.0 / (1 << (25 - (e ? e : 1)));   // ldexp would need libm
  double v = e == 31 ? (m ? NAN : HUGE_VAL) : (e ? 1024 + m : m) * scale;
  return h & 0x8000 ? -v : v;
}

double lt_get(const lt_tensor *t, int64_t i) {
  const char *p = (const char *)t->data + i * t->elem_bytes;
  const char *d = t->dtype;
  if (!strcmp(d, "f32")) { float v; memcpy(&v, p, 4); return (double)v; }
  if (!strcmp(d, "f64")) { double v; memcpy(&v, p, 8); return v; }
  if (!strcmp(d, "f16")) { uint16_t v; memcpy(&v, p, 2); return half(v); }
  if (!strcmp(d, "bf16")) {
    uint16_t h;
    uint32_t u;
    float v;
    memcpy(&h, p, 2);
    u = (uint32_t)h << 16;
    memcpy(&v, &u, 4);
    return (double)v;
  }
  switch (t->elem_bytes) {
  case 1: return d[0] == 'i' ? (double)*(const signed char *)p : (double)*(const unsigned char *)p;
  case 2: { uint16_t v; memcpy(&v, p, 2); return d[0] == 'i' ? (double)(int16_t)v : (double)v; }
  case 4: { uint32_t v; memcpy(&v, p, 4); return d[0] == 'i' ? (double)(int32_t)v : (double)v; }
  default: { uint64_t v; memcpy(&v, p, 8); return d[0] == 'i' ? (double)(int64_t)v : (double)v; }
  }
}

/* ---- XXH64 (Y. Collet's xxHash specification), seed 0 ---- */

static const uint64_t prime[] = {11400714785074694791u, 14029467366897019727u, 1609587929392839161u,
    9650029242287828579u, 2870177450012600261u};

static uint64_t rotated(uint64_t x, int r) { return x << r | x >> (64 - r); }
static uint64_t word(const unsigned char *p) { uint64_t v; memcpy(&v, p, 8); return v; }
static uint64_t mixed(uint64_t acc, uint64_t lane) { return rotated(acc + lane * prime[1], 31) * prime[0]; }

uint64_t lt_xxh64(const void *data, size_t n) {
  const unsigned char *p = data, *end = p + n;
  uint64_t h = prime[4], v[4];
  int k;
  if (n >= 32) {
    v[0] = prime[0] + prime[1]; v[1] = prime[1]; v[2] = 0; v[3] = 0 - prime[0];
    for (; end - p >= 32; p += 32)
      for (k = 0; k < 4; k++) v[k] = mixed(v[k], word(p + 8 * k));
    h = rotated(v[0], 1) + rotated(v[1], 7) + rotated(v[2], 12) + rotated(v[3], 18);
    for (k = 0; k < 4; k++) h = (h ^ mixed(0, v[k])) * prime[0] + prime[3];
  }
  h += n;
  for (; end - p >= 8; p += 8) h = rotated(h ^ mixed(0, word(p)), 27) * prime[0] + prime[3];
  if (end - p >= 4) {
    uint32_t half_word;
    memcpy(&half_word, p, 4);
    h = rotated(h ^ half_word * prime[0], 23) * prime[1] + prime[2];
    p += 4;
  }
  for (; p < end; p++) h = rotated(h ^ *p * prime[4], 11) * prime[0];
  h = (h ^ h >> 33) * prime[1];
  h = (h ^ h >> 29) * prime[2];
  return h ^ h >> 32;
}
