/* The smallest pieces of IR text: words, numbers, dims, types, constants. See graph_parse.h. */
#include "ir/graph_parse.h"
#include "base/intern.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool parse_fail(Parser *p, const char *fmt, ...) {
  if (p->failed) return false;
  p->failed = true;
  int line = 1, col = 1;
  for (const char *c = p->start; c < p->s; c++) {
    if (*c == '\n') { line++; col = 1; } else col++;
  }
  char where[40], text[400];
  snprintf(where, sizeof where, "%d:%d", line, col);
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  diag_error(p->d, "parse", where, "%s", text);
  return false;
}

/* ---- words ---- */

void parse_skip(Parser *p) {
  for (;;) {
    while (isspace((unsigned char)*p->s)) p->s++;
    if (p->s[0] != '/' || p->s[1] != '/') return;
    while (*p->s && *p->s != '\n') p->s++;
  }
}

static bool is_name_char(char c) { return isalnum((unsigned char)c) || (c && strchr("_./-", c)); }

bool parse_eat(Parser *p, const char *word) {
  parse_skip(p);
  size_t n = strlen(word);
  if (strncmp(p->s, word, n)) return false;
  if (isalpha((unsigned char)word[n - 1]) && is_name_char(p->s[n])) return false;
  p->s += n;
  return true;
}

bool parse_expect(Parser *p, const char *word) { return parse_eat(p, word) || parse_fail(p, "expected '%s'", word); }

const char *parse_string(Parser *p) {
  parse_skip(p);
  if (*p->s != '"') return NULL;
  Text t = {0};
  text_put(&t, "");
  const char *s = p->s + 1;
  for (; *s && *s != '"'; s++) {
    char c = *s;
    if (c == '\\' && s[1] == 'x' && isxdigit((unsigned char)s[2]) && isxdigit((unsigned char)s[3])) {
      c = (char)strtol((char[]){s[2], s[3], 0}, NULL, 16);
      s += 3;
    } else if (c == '\\' && s[1]) c = *++s;
    text_bytes(&t, &c, 1);
  }
  const char *r = intern(t.at);
  text_free(&t);
  if (*s != '"') { parse_fail(p, "this string does not end"); return NULL; }
  p->s = s + 1;
  return r;
}

const char *parse_word(Parser *p) {
  const char *q = parse_string(p);
  if (q || p->failed) return q;
  const char *s = p->s;
  while (is_name_char(*s)) s++;
  if (s == p->s) { parse_fail(p, "expected a name"); return NULL; }
  const char *r = intern_n(p->s, (size_t)(s - p->s));
  p->s = s;
  return r;
}

bool parse_integer(Parser *p, int64_t *v) {
  parse_skip(p);
  bool minus = *p->s == '-';
  const char *s = p->s + minus;
  if (!isdigit((unsigned char)*s)) return parse_fail(p, "expected an integer");
  for (*v = 0; isdigit((unsigned char)*s); s++)
    if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, minus ? '0' - *s : *s - '0', v))
      return parse_fail(p, "this integer does not fit in 64 bits");
  p->s = s;
  return true;
}

bool parse_real(Parser *p, double *v) {
  parse_skip(p);
  char *end;
  *v = strtod(p->s, &end);
  if (end == p->s) return parse_fail(p, "expected a number");
  p->s = end;
  return true;
}

bool parse_dim(Parser *p, Dim *d) {
  parse_skip(p);
  return dim_parse(&p->s, d) || parse_fail(p, "expected a dim, such as 3 or 2*N + 1");
}

bool parse_dim_list(Parser *p, const Dim **out, int *n) {
  VEC(Dim) v = {0};
  if (!parse_eat(p, "]"))
    do {
      Dim d;
      if (!parse_dim(p, &d)) return false;
      *vec_push(&p->m->perm, &v) = d;
    } while (parse_eat(p, ","));
  if (v.len && !parse_expect(p, "]")) return false;
  *out = v.len ? v.at : NEW(&p->m->perm, Dim);
  *n = v.len;
  return true;
}

/* ---- types and tensors ---- */

bool parse_type(Parser *p, Type *t) {
  *t = type_of(DT_NONE, -1, NULL);
  if (parse_eat(p, "seq")) t->kind = KIND_SEQUENCE;
  else if (parse_eat(p, "opt")) t->kind = KIND_OPTIONAL;
  const char *s = p->s, *name = parse_word(p);
  if (!name) return false;
  t->dtype = dtype_from_text(name);
  if (!t->dtype && strcmp(name, "none")) { p->s = s; return parse_fail(p, "'%s' is not an element type", name); }
  if (!parse_expect(p, "[")) return false;
  if (parse_eat(p, "*")) return parse_expect(p, "]");
  const Dim *d;
  int n;
  if (!parse_dim_list(p, &d, &n)) return false;
  if (n > MAX_RANK) return parse_fail(p, "rank %d is more than %d", n, MAX_RANK);
  t->rank = n;
  for (int i = 0; i < n; i++) t->dims[i] = d[i];
  return true;
}

static bool element(Parser *p, Tensor *x, int64_t i) {
  double v, w = 0;
  int64_t k;
  switch (dtype_info[x->dtype].cls) {
    case CLASS_FLOAT:
      if (!parse_real(p, &v)) return false;
      tensor_set(x, i, v);
      return true;
    case CLASS_UINT:
      parse_skip(p);
      if (x->dtype == DT_U64 && isdigit((unsigned char)*p->s)) {
        char *end;
        ((uint64_t *)x->data)[i] = strtoull(p->s, &end, 10);
        p->s = end;
        return true;
      }
      if (!parse_integer(p, &k)) return false;
      tensor_set_int(x, i, k);
      return true;
    case CLASS_INT: case CLASS_BOOL:
      if (!parse_integer(p, &k)) return false;
      tensor_set_int(x, i, k);
      return true;
    case CLASS_STRING: {
      const char *s = parse_string(p);
      if (!s) return parse_fail(p, "expected a string");
      ((const char **)x->data)[i] = s;
      return true;
    }
    case CLASS_COMPLEX:
      if (!parse_real(p, &v) || !parse_real(p, &w)) return false;
      if (x->dtype == DT_C64) { ((float *)x->data)[2 * i] = (float)v; ((float *)x->data)[2 * i + 1] = (float)w; }
      else { ((double *)x->data)[2 * i] = v; ((double *)x->data)[2 * i + 1] = w; }
      return true;
    case CLASS_NONE: break;
  }
  return parse_fail(p, "a constant needs an element type");
}

static bool found(Tensor *x, const Tensor *t, uint64_t hash) {
  if (!t || !t->data || t->dtype != x->dtype) return false;
  if (tensor_bytes(t) != tensor_bytes(x) || tensor_hash(t) != hash) return false;
  x->data = t->data;
  return true;
}

static bool find_constant(Parser *p, Tensor *x, uint64_t hash) {
  const Module *m = p->constants;
  for (int i = 1; i < m->values.len; i++)
    if (found(x, m->values.at[i].constant, hash)) return true;
  for (int i = 1; i < m->nodes.len; i++)
    for (int k = 0; k < m->nodes.at[i].nattr; k++)
      if (m->nodes.at[i].attr[k].kind == ATTR_TENSOR && found(x, m->nodes.at[i].attr[k].tensor, hash)) return true;
  return parse_fail(p, "there is no constant of this hash and size");
}

static bool stored(Parser *p, Tensor *x) {                      // after '#'
  char *end;
  uint64_t hash = strtoull(p->s, &end, 16);
  if (end == p->s) return parse_fail(p, "expected the hash of a constant");
  if (p->constants) {
    if (!find_constant(p, x, hash)) return false;
    p->s = end;
    return true;
  }
  if (!p->weights) return parse_fail(p, "this constant is in a side file, and none was given");
  for (size_t at = 8; at + 16 <= p->nweights;) {
    uint64_t head[2];
    memcpy(head, p->weights + at, sizeof head);
    at += 16;
    if (head[1] > p->nweights - at) break;
    if (head[0] == hash && head[1] == tensor_bytes(x)) {
      x->data = arena_dup(&p->m->perm, p->weights + at, head[1]);
      p->s = end;
      return true;
    }
    at += (head[1] + 7) / 8 * 8;
  }
  return parse_fail(p, "%s has no constant of this hash and size", p->weights_path);
}

enum { MAX_INLINE_BYTES = 1 << 30 };

bool parse_tensor(Parser *p, const Type *t, const Tensor **out) {
  if (t->kind != KIND_TENSOR || !t->dtype || !type_is_static(t))
    return parse_fail(p, "a constant needs a type with constant dims");
  int64_t dims[MAX_RANK], n = 1;
  for (int i = 0; i < t->rank; i++) {
    dims[i] = t->dims[i].k;
    if (dims[i] < 0 || __builtin_mul_overflow(n, dims[i], &n) || n > MAX_INLINE_BYTES)
      return parse_fail(p, "this constant is too large");
  }
  Tensor *x = tensor_new(&p->m->perm, t->dtype, t->rank, dims);
  *out = x;
  if (parse_eat(p, "#")) return stored(p, x);
  if (parse_eat(p, "fill")) {
    if (n > 0 && !element(p, x, 0)) return false;
    size_t b = (size_t)dtype_bytes(x->dtype);
    for (int64_t i = 1; i < n; i++) memcpy((char *)x->data + (size_t)i * b, x->data, b);
    return true;
  }
  if (parse_eat(p, "random")) {                                       // in (-1, 1), or small integers: for tests
    int64_t seed;
    if (!parse_integer(p, &seed)) return false;
    uint64_t u = (uint64_t)seed * 2 + 1;
    for (int64_t i = 0; i < n; i++) {
      u = u * 6364136223846793005u + 1442695040888963407u;
      if (dtype_is_float(x->dtype)) tensor_set(x, i, (double)(int64_t)(u >> 40) / 0x1p23 - 1);
      else tensor_set_int(x, i, (int64_t)(u >> 60));
    }
    return true;
  }
  if (!parse_expect(p, "[")) return false;
  for (int64_t i = 0; i < n; i++)
    if ((i && !parse_expect(p, ",")) || !element(p, x, i)) return false;
  return parse_expect(p, "]");
}
