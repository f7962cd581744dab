/* Reads what module_print writes; the grammar is in graph_text.c.
 *
 * Recursive descent straight into the module: every node is inferred as soon as its regions are there, and a
 * type that the text states must be the inferred one. The first mistake in the syntax ends it ("12:7: …");
 * whatever the text is, the result is a module or an error. */
#include "ir/graph_text.h"
#include "base/intern.h"
#include "ir/ops.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct Parser {
  Module *m;
  Diags *d;
  const char *start, *s;
  char *weights;                       /* the side file */
  size_t nweights;
  const char *weights_path;
  const Module *constants;             /* where large constants are found instead; NULL: the side file */
  VEC(struct { ValueId value; const char *at; }) later;   /* storage, see skip_storage */
  int depth;
  bool failed;
} Parser;

static bool fail(Parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool fail(Parser *p, const char *fmt, ...) {
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

static void skip(Parser *p) {
  for (;;) {
    while (isspace((unsigned char)*p->s)) p->s++;
    if (p->s[0] != '/' || p->s[1] != '/') return;
    while (*p->s && *p->s != '\n') p->s++;
  }
}

static bool is_name_char(char c) { return isalnum((unsigned char)c) || (c && strchr("_./-", c)); }

/* Eats a mark or a whole word. */
static bool eat(Parser *p, const char *word) {
  skip(p);
  size_t n = strlen(word);
  if (strncmp(p->s, word, n)) return false;
  if (isalpha((unsigned char)word[n - 1]) && is_name_char(p->s[n])) return false;
  p->s += n;
  return true;
}

static bool expect(Parser *p, const char *word) { return eat(p, word) || fail(p, "expected '%s'", word); }

static const char *string(Parser *p) {                          // NULL: none here
  skip(p);
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
  if (*s != '"') { fail(p, "this string does not end"); return NULL; }
  p->s = s + 1;
  return r;
}

static const char *word(Parser *p) {                            // plain or quoted; NULL after an error
  const char *q = string(p);
  if (q || p->failed) return q;
  const char *s = p->s;
  while (is_name_char(*s)) s++;
  if (s == p->s) { fail(p, "expected a name"); return NULL; }
  const char *r = intern_n(p->s, (size_t)(s - p->s));
  p->s = s;
  return r;
}

static bool integer(Parser *p, int64_t *v) {
  skip(p);
  bool minus = *p->s == '-';
  const char *s = p->s + minus;
  if (!isdigit((unsigned char)*s)) return fail(p, "expected an integer");
  for (*v = 0; isdigit((unsigned char)*s); s++)
    if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, minus ? '0' - *s : *s - '0', v))
      return fail(p, "this integer does not fit in 64 bits");
  p->s = s;
  return true;
}

static bool real(Parser *p, double *v) {
  skip(p);
  char *end;
  *v = strtod(p->s, &end);
  if (end == p->s) return fail(p, "expected a number");
  p->s = end;
  return true;
}

static bool dim(Parser *p, Dim *d) {
  skip(p);
  return dim_parse(&p->s, d) || fail(p, "expected a dim, such as 3 or 2*N + 1");
}

/* After "[": dims up to "]". */
static bool dim_list(Parser *p, const Dim **out, int *n) {
  VEC(Dim) v = {0};
  if (!eat(p, "]"))
    do {
      Dim d;
      if (!dim(p, &d)) return false;
      *vec_push(&p->m->perm, &v) = d;
    } while (eat(p, ","));
  if (v.len && !expect(p, "]")) return false;
  *out = v.len ? v.at : NEW(&p->m->perm, Dim);
  *n = v.len;
  return true;
}

/* ---- types and tensors ---- */

static bool type(Parser *p, Type *t) {
  *t = type_of(DT_NONE, -1, NULL);
  if (eat(p, "seq")) t->kind = KIND_SEQUENCE;
  else if (eat(p, "opt")) t->kind = KIND_OPTIONAL;
  const char *s = p->s, *name = word(p);
  if (!name) return false;
  t->dtype = dtype_from_text(name);
  if (!t->dtype && strcmp(name, "none")) { p->s = s; return fail(p, "'%s' is not an element type", name); }
  if (!expect(p, "[")) return false;
  if (eat(p, "*")) return expect(p, "]");
  const Dim *d;
  int n;
  if (!dim_list(p, &d, &n)) return false;
  if (n > MAX_RANK) return fail(p, "rank %d is more than %d", n, MAX_RANK);
  t->rank = n;
  for (int i = 0; i < n; i++) t->dims[i] = d[i];
  return true;
}

static bool element(Parser *p, Tensor *x, int64_t i) {
  double v, w = 0;
  int64_t k;
  switch (dtype_info[x->dtype].cls) {
    case CLASS_FLOAT:
      if (!real(p, &v)) return false;
      tensor_set(x, i, v);
      return true;
    case CLASS_UINT:
      skip(p);
      if (x->dtype == DT_U64 && isdigit((unsigned char)*p->s)) {
        char *end;
        ((uint64_t *)x->data)[i] = strtoull(p->s, &end, 10);
        p->s = end;
        return true;
      }
      if (!integer(p, &k)) return false;
      tensor_set_int(x, i, k);
      return true;
    case CLASS_INT: case CLASS_BOOL:
      if (!integer(p, &k)) return false;
      tensor_set_int(x, i, k);
      return true;
    case CLASS_STRING: {
      const char *s = string(p);
      if (!s) return fail(p, "expected a string");
      ((const char **)x->data)[i] = s;
      return true;
    }
    case CLASS_COMPLEX:
      if (!real(p, &v) || !real(p, &w)) return false;
      if (x->dtype == DT_C64) { ((float *)x->data)[2 * i] = (float)v; ((float *)x->data)[2 * i + 1] = (float)w; }
      else { ((double *)x->data)[2 * i] = v; ((double *)x->data)[2 * i + 1] = w; }
      return true;
    case CLASS_NONE: break;
  }
  return fail(p, "a constant needs an element type");
}

static bool found(Tensor *x, const Tensor *t, uint64_t hash) {
  if (!t || !t->data || t->dtype != x->dtype || tensor_bytes(t) != tensor_bytes(x) || tensor_hash(t) != hash) return false;
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
  return fail(p, "there is no constant of this hash and size");
}

static bool stored(Parser *p, Tensor *x) {                      // after '#'
  char *end;
  uint64_t hash = strtoull(p->s, &end, 16);
  if (end == p->s) return fail(p, "expected the hash of a constant");
  if (p->constants) {
    if (!find_constant(p, x, hash)) return false;
    p->s = end;
    return true;
  }
  if (!p->weights) return fail(p, "this constant is in a side file, and none was given");
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
  return fail(p, "%s has no constant of this hash and size", p->weights_path);
}

enum { MAX_INLINE_BYTES = 1 << 30 };

static bool tensor(Parser *p, const Type *t, const Tensor **out) {
  if (t->kind != KIND_TENSOR || !t->dtype || !type_is_static(t)) return fail(p, "a constant needs a type with constant dims");
  int64_t dims[MAX_RANK], n = 1;
  for (int i = 0; i < t->rank; i++) {
    dims[i] = t->dims[i].k;
    if (dims[i] < 0 || __builtin_mul_overflow(n, dims[i], &n) || n > MAX_INLINE_BYTES) return fail(p, "this constant is too large");
  }
  Tensor *x = tensor_new(&p->m->perm, t->dtype, t->rank, dims);
  *out = x;
  if (eat(p, "#")) return stored(p, x);
  if (eat(p, "fill")) {
    if (n > 0 && !element(p, x, 0)) return false;
    size_t b = (size_t)dtype_bytes(x->dtype);
    for (int64_t i = 1; i < n; i++) memcpy((char *)x->data + (size_t)i * b, x->data, b);
    return true;
  }
  if (eat(p, "random")) {                                       // in (-1, 1), or small integers: for tests
    int64_t seed;
    if (!integer(p, &seed)) return false;
    uint64_t u = (uint64_t)seed * 2 + 1;
    for (int64_t i = 0; i < n; i++) {
      u = u * 6364136223846793005u + 1442695040888963407u;
      if (dtype_is_float(x->dtype)) tensor_set(x, i, (double)(int64_t)(u >> 40) / 0x1p23 - 1);
      else tensor_set_int(x, i, (int64_t)(u >> 60));
    }
    return true;
  }
  if (!expect(p, "[")) return false;
  for (int64_t i = 0; i < n; i++)
    if ((i && !expect(p, ",")) || !element(p, x, i)) return false;
  return expect(p, "]");
}

/* ---- values ---- */

static ValueId use(Parser *p) {                                 // 0 after an error
  const char *at = p->s;
  if (!expect(p, "%")) return 0;
  const char *name = word(p);
  if (!name) return 0;
  ValueId v = graph_find_value(p->m, name);
  if (!v) { p->s = at; fail(p, "%%%s is not defined before this use", name); }
  return v;
}

typedef struct Stated { const char *name; Type type; bool typed; Storage at; } Stated;

static bool stated_value(Parser *p, Stated *v) {
  memset(v, 0, sizeof *v);
  if (!expect(p, "%")) return false;
  const char *at = p->s;
  if (!(v->name = word(p))) return false;
  if (graph_find_value(p->m, v->name)) { p->s = at; return fail(p, "%%%s is defined twice", v->name); }
  if (!eat(p, ":")) return true;
  v->typed = true;
  return type(p, &v->type);
}

/* A value may live in one that is defined later (the part of a concat): skipped here, read at the end. */
static bool skip_storage(Parser *p, const char **at) {
  *at = NULL;
  if (!eat(p, "at")) return true;
  *at = p->s;
  const Dim *d;
  int n;
  Dim x;
  return expect(p, "%") && word(p) && expect(p, "+") && dim(p, &x) && expect(p, "strides") && expect(p, "[") &&
         dim_list(p, &d, &n) && expect(p, "size") && dim(p, &x);
}

static void stored_later(Parser *p, ValueId v, const char *at) {
  if (!at) return;
  vec_push(&p->m->perm, &p->later);
  p->later.at[p->later.len - 1].value = v;
  p->later.at[p->later.len - 1].at = at;
}

static bool read_storage(Parser *p) {
  const char *end = p->s;
  for (int k = 0; k < p->later.len; k++) {
    Storage s = {0};
    const Dim *d;
    int n;
    p->s = p->later.at[k].at;
    if (!(s.base = use(p)) || !expect(p, "+") || !dim(p, &s.offset) || !expect(p, "strides") || !expect(p, "[") || !dim_list(p, &d, &n)) return false;
    if (n > MAX_RANK) return fail(p, "rank %d is more than %d", n, MAX_RANK);
    for (int i = 0; i < n; i++) s.stride[i] = d[i];
    if (!expect(p, "size") || !dim(p, &s.size)) return false;
    value_of(p->m, p->later.at[k].value)->at = s;
  }
  p->s = end;
  return true;
}

static ValueId new_input(Parser *p, Graph *g) {
  Stated v;
  if (!stated_value(p, &v)) return 0;
  if (!v.typed) { fail(p, "an input needs a type"); return 0; }
  ValueId id = graph_add_input(g, v.name, v.type);
  const char *at;
  if (!skip_storage(p, &at)) return 0;
  stored_later(p, id, at);
  return id;
}

static bool weight(Parser *p) {
  Stated v;
  if (!stated_value(p, &v)) return false;
  if (!v.typed) return fail(p, "a weight needs a type");
  const Tensor *x;
  const char *at;
  if (!skip_storage(p, &at) || !expect(p, "=") || !tensor(p, &v.type, &x)) return false;
  stored_later(p, graph_add_constant(p->m, v.name, x), at);
  if (dtype_is_float(x->dtype)) p->m->parameters += tensor_count(x);
  return true;
}

/* ---- nodes ---- */

static bool attr_value(Parser *p, Attr *a) {
  Arena *perm = &p->m->perm;
  const char *s;
  if (eat(p, "[")) { a->kind = ATTR_DIMS; return dim_list(p, &a->dims, &a->n); }
  if (eat(p, "f[")) {
    VEC(double) v = {0};
    a->kind = ATTR_FLOATS;
    if (!eat(p, "]")) {
      do if (!real(p, vec_push(perm, &v))) return false; while (eat(p, ","));
      if (!expect(p, "]")) return false;
    }
    a->floats = v.len ? v.at : NEW(perm, double);
    a->n = v.len;
    return true;
  }
  if (eat(p, "s[")) {
    VEC(const char *) v = {0};
    a->kind = ATTR_STRS;
    if (!eat(p, "]")) {
      do {
        if (!(s = string(p))) return fail(p, "expected a string");
        *vec_push(perm, &v) = s;
      } while (eat(p, ","));
      if (!expect(p, "]")) return false;
    }
    a->strs = v.len ? v.at : NEW(perm, const char *);
    a->n = v.len;
    return true;
  }
  if (eat(p, "tensor")) {
    Type t;
    a->kind = ATTR_TENSOR;
    return type(p, &t) && tensor(p, &t, &a->tensor);
  }
  if ((s = string(p))) { a->kind = ATTR_STR; a->s = s; return true; }
  if (p->failed) return false;
  const char *w = p->s + (*p->s == '-'), *e = w;
  while (isdigit((unsigned char)*e)) e++;
  if (e > w && *e != '.' && *e != 'e') { a->kind = ATTR_INT; return integer(p, &a->i); }
  if (e > w || !strncmp(w, "inf", 3) || !strncmp(w, "nan", 3)) { a->kind = ATTR_FLOAT; return real(p, &a->f); }
  if (!(s = word(p))) return false;
  a->kind = ATTR_DTYPE;
  a->i = dtype_from_text(s);
  return a->i || fail(p, "'%s' is not an element type", s);
}

static bool source(Parser *p, Source *s) {
  if (!eat(p, "_") && !(s->node = string(p))) return fail(p, "expected the source node's name in quotes");
  if (!eat(p, ":")) return true;
  s->op = string(p);
  if (s->op && !*s->op) s->op = NULL;
  int64_t line = 0;
  if (eat(p, ":") && !integer(p, &line)) return false;
  s->line = (int)line;
  return true;
}

static bool items(Parser *p, Graph *g);

static bool region(Parser *p, NodeId n) {
  const char *name = word(p);
  if (!name || !expect(p, "(")) return false;
  if (++p->depth > 100) return fail(p, "regions are nested too deeply");
  Graph *g = graph_new(p->m, name, n);
  if (!eat(p, ")")) {
    do if (!new_input(p, g)) return false; while (eat(p, ","));
    if (!expect(p, ")")) return false;
  }
  if (!expect(p, "{") || !items(p, g) || !expect(p, "yield")) return false;
  skip(p);
  if (*p->s == '%')
    do {
      ValueId v = use(p);
      if (!v) return false;
      *vec_push(&p->m->perm, &g->outputs) = v;
    } while (eat(p, ","));
  if (!expect(p, "}")) return false;
  graph_attach_region(p->m, n, g);
  p->depth--;
  return true;
}

typedef VEC(Stated) StatedList;

/* Names, types and storage of the outputs, then inference, which must find what was stated. */
static bool finish_node(Parser *p, NodeId id, const StatedList *out, const char *const *places) {
  Module *m = p->m;
  for (int i = 0; i < out->len; i++)
    if (out->at[i].typed) value_of(m, node_of(m, id)->out[i])->type = out->at[i].type;
  while (eat(p, "region"))
    if (!region(p, id)) return false;
  if (p->failed) return false;
  if (!infer_node(m, id)) { p->failed = true; return false; }
  const char *end = p->s;
  for (int i = 0; i < out->len; i++) {
    ValueId v = node_of(m, id)->out[i];
    Type *t = &value_of(m, v)->type;
    if (out->at[i].typed && !type_eq(t, &out->at[i].type)) {
      p->s = places[i];
      return fail(p, "%%%s is stated as %s, and its inputs make it %s", out->at[i].name, type_text(&out->at[i].type), type_text(t));
    }
  }
  p->s = end;
  return true;
}

static bool node(Parser *p, Graph *g) {
  Arena *perm = &p->m->perm;
  StatedList out = {0};
  VEC(const char *) places = {0}, at = {0};
  VEC(ValueId) in = {0};
  VEC(Attr) attr = {0};
  do {
    skip(p);
    *vec_push(perm, &places) = p->s;
    Stated v;
    if (!stated_value(p, &v)) return false;
    *vec_push(perm, &out) = v;
    const char *place;
    if (!skip_storage(p, &place)) return false;
    *vec_push(perm, &at) = place;
  } while (eat(p, ","));
  if (!expect(p, "=")) return false;
  skip(p);
  const char *op_at = p->s, *op_name = word(p);
  if (!op_name) return false;
  Op op = op_from_text(op_name);
  if (!op) { p->s = op_at; return fail(p, "there is no op '%s'", op_name); }
  if (!expect(p, "(")) return false;
  if (!eat(p, ")")) {
    do {
      ValueId v = 0;
      if (!eat(p, "_") && !(v = use(p))) return false;
      *vec_push(perm, &in) = v;
    } while (eat(p, ","));
    if (!expect(p, ")")) return false;
  }
  if (eat(p, "{") && !eat(p, "}")) {
    do {
      Attr a = {.name = word(p)};
      if (!a.name || !expect(p, "=") || !attr_value(p, &a)) return false;
      *vec_push(perm, &attr) = a;
    } while (eat(p, ","));
    if (!expect(p, "}")) return false;
  }
  int64_t group = 0;
  Source src = {0};
  if (eat(p, "fused") && !integer(p, &group)) return false;
  if (eat(p, "@") && !source(p, &src)) return false;
  graph_set_source(p->m, src);
  NodeId id = graph_new_node(g, op, in.at, in.len, out.len, attr.at, attr.len);
  node_of(p->m, id)->group = (int)group;
  for (int i = 0; i < out.len; i++)                              // the fresh names may be those that the text gives
    graph_rename_value(p->m, node_of(p->m, id)->out[i], "\001being named");
  for (int i = 0; i < out.len; i++) {
    ValueId v = node_of(p->m, id)->out[i];
    if (graph_find_value(p->m, out.at[i].name)) return fail(p, "%%%s is defined twice", out.at[i].name);
    graph_rename_value(p->m, v, out.at[i].name);
    stored_later(p, v, at.at[i]);
  }
  return finish_node(p, id, &out, places.at);
}

/* Weights and nodes, up to something else. */
static bool items(Parser *p, Graph *g) {
  for (;;) {
    skip(p);
    if (eat(p, "weight") ? !weight(p) : *p->s == '%' ? !node(p, g) : true) return !p->failed;
  }
}

static bool symbol(Parser *p) {
  skip(p);
  const char *name = dim_parse_symbol(&p->s);
  int64_t lo, hi;
  if (!name) return fail(p, "expected the name of a dim");
  if (!expect(p, "in") || !integer(p, &lo) || !expect(p, "..") || !integer(p, &hi)) return false;
  if (lo > hi) return fail(p, "the bounds of %s are empty", name);
  dim_symbol(name, lo, hi);
  return true;
}

static bool state(Parser *p) {
  StateSlot s = {.name = word(p)};
  if (!s.name || !expect(p, ":")) return false;
  if (!eat(p, "_") && !(s.value = use(p))) return false;
  if (!expect(p, "->")) return false;
  if (!eat(p, "_") && !(s.next = use(p))) return false;
  s.name = intern(s.name);
  *vec_push(&p->m->perm, &p->m->state) = s;
  return true;
}

static bool module(Parser *p) {
  if (!expect(p, "module")) return false;
  const char *name = word(p), *path = NULL;
  if (!name) return false;
  if (eat(p, "from") && !(path = string(p))) return fail(p, "expected a path in quotes");
  p->m = module_new(name, p->d);
  p->m->path = path;
  if (!expect(p, "{")) return false;
  while (!eat(p, "}")) {
    bool ok;
    if (eat(p, "dim")) ok = symbol(p);
    else if (eat(p, "input")) ok = new_input(p, p->m->main) != 0;
    else if (eat(p, "output")) {
      ValueId v = use(p);
      if ((ok = v != 0)) *vec_push(&p->m->perm, &p->m->main->outputs) = v;
    } else if (eat(p, "state")) {
      ok = state(p);
    } else {
      const char *before = p->s;
      ok = items(p, p->m->main) && (p->s != before || fail(p, "expected dim, input, weight, a node, output or '}'"));
    }
    if (!ok) return false;
  }
  if (!read_storage(p)) return false;
  skip(p);
  graph_set_source(p->m, (Source){0});
  return !*p->s || fail(p, "expected the end");
}

Module *module_parse(const char *text, const char *weights_path, Diags *d) {
  Parser p = {.d = d, .start = text, .s = text, .weights_path = weights_path};
  if (weights_path) {
    char why[400];
    p.weights = file_load(weights_path, &p.nweights, why, sizeof why);
    if (!p.weights) { diag_error(d, "io", NULL, "%s", why); return NULL; }
    if (p.nweights < 8 || memcmp(p.weights, WEIGHTS_MAGIC, 8)) {
      diag_error(d, "io", NULL, "%s is not a file of lathe's constants", weights_path);
      free(p.weights);
      return NULL;
    }
  }
  bool ok = module(&p);
  free(p.weights);
  if (ok) return p.m;
  if (p.m) module_free(p.m);
  return NULL;
}

Module *module_parse_with(const char *text, const Module *constants, Diags *d) {
  Parser p = {.d = d, .start = text, .s = text, .constants = constants};
  if (module(&p)) return p.m;
  if (p.m) module_free(p.m);
  return NULL;
}
