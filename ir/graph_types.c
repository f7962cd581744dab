/* Attributes and types of the graph IR: making, reading, comparing, their short text. */
#include "ir/graph.h"
#include "base/intern.h"
#include <string.h>

/* ---- attributes ---- */

static const char *const kind_text[] = {
  [ATTR_INT] = "int", [ATTR_FLOAT] = "float", [ATTR_STR] = "str", [ATTR_DIMS] = "dims",
  [ATTR_FLOATS] = "floats", [ATTR_TENSOR] = "tensor", [ATTR_DTYPE] = "dtype", [ATTR_STRS] = "strs",
};
const char *attr_kind_text(AttrKind k) { return kind_text[k]; }

const Attr *node_attr(const Node *n, const char *name) {
  for (int i = 0; i < n->nattr; i++)
    if (!strcmp(n->attr[i].name, name)) return &n->attr[i];
  return NULL;
}

static const Attr *attr_of_kind(const Node *n, const char *name, AttrKind kind) {
  const Attr *a = node_attr(n, name);
  if (a && a->kind != kind && !(kind == ATTR_INT && a->kind == ATTR_DTYPE))
    BUG("attribute '%s' is %s, not %s", name, kind_text[a->kind], kind_text[kind]);
  return a;
}

int64_t node_int(const Node *n, const char *name, int64_t dflt) {
  const Attr *a = attr_of_kind(n, name, ATTR_INT);
  return a ? a->i : dflt;
}

double node_float(const Node *n, const char *name, double dflt) {
  const Attr *a = attr_of_kind(n, name, ATTR_FLOAT);
  return a ? a->f : dflt;
}

const char *node_str(const Node *n, const char *name, const char *dflt) {
  const Attr *a = attr_of_kind(n, name, ATTR_STR);
  return a ? a->s : dflt;
}

const Attr *node_dims(const Node *n, const char *name) { return attr_of_kind(n, name, ATTR_DIMS); }

Attr attr_int(const char *name, int64_t v) { return (Attr){.name = intern(name), .kind = ATTR_INT, .i = v}; }
Attr attr_float(const char *name, double v) { return (Attr){.name = intern(name), .kind = ATTR_FLOAT, .f = v}; }
Attr attr_str(const char *name, const char *v) {
  return (Attr){.name = intern(name), .kind = ATTR_STR, .s = intern(v)};
}
Attr attr_dtype(const char *name, DType t) { return (Attr){.name = intern(name), .kind = ATTR_DTYPE, .i = t}; }
Attr attr_tensor(const char *name, const Tensor *t) {
  return (Attr){.name = intern(name), .kind = ATTR_TENSOR, .tensor = t};
}

Attr attr_ints(Module *m, const char *name, const int64_t *v, int n) {
  Dim *d = NEW_N(&m->perm, Dim, n);
  for (int i = 0; i < n; i++) d[i] = DIM(v[i]);
  return (Attr){.name = intern(name), .kind = ATTR_DIMS, .n = n, .dims = d};
}

Attr attr_dims(Module *m, const char *name, const Dim *v, int n) {
  return (Attr){.name = intern(name), .kind = ATTR_DIMS, .n = n, .dims = arena_dup(&m->perm, v, (size_t)n * sizeof *v)};
}

Attr attr_floats(Module *m, const char *name, const double *v, int n) {
  return (Attr){.name = intern(name), .kind = ATTR_FLOATS, .n = n,
                .floats = arena_dup(&m->perm, v, (size_t)n * sizeof *v)};
}

Attr attr_strs(Module *m, const char *name, const char *const *v, int n) {
  const char **s = NEW_N(&m->perm, const char *, n);
  for (int i = 0; i < n; i++) s[i] = intern(v[i]);
  return (Attr){.name = intern(name), .kind = ATTR_STRS, .n = n, .strs = s};
}

bool attr_eq(const Attr *a, const Attr *b) {
  if (a->name != b->name || a->kind != b->kind || a->n != b->n) return false;
  switch (a->kind) {
    case ATTR_INT: case ATTR_DTYPE: return a->i == b->i;
    case ATTR_FLOAT: return !memcmp(&a->f, &b->f, sizeof a->f);
    case ATTR_STR: return !strcmp(a->s, b->s);
    case ATTR_FLOATS: return !a->n || !memcmp(a->floats, b->floats, (size_t)a->n * sizeof *a->floats);
    case ATTR_TENSOR: return tensor_same(a->tensor, b->tensor);
    case ATTR_DIMS:
      for (int i = 0; i < a->n; i++)
        if (!dim_eq(a->dims[i], b->dims[i])) return false;
      return true;
    case ATTR_STRS:
      for (int i = 0; i < a->n; i++)
        if (strcmp(a->strs[i], b->strs[i])) return false;
      return true;
  }
  return false;
}

/* ---- types ---- */

Type type_of(DType t, int rank, const Dim *dims) {
  Type r = {.kind = KIND_TENSOR, .dtype = t, .rank = rank};
  for (int i = 0; i < rank; i++) r.dims[i] = dims[i];
  return r;
}

bool type_same_shape(const Type *a, const Type *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (!dim_eq(a->dims[i], b->dims[i])) return false;
  return true;
}

bool type_eq(const Type *a, const Type *b) {
  return a->kind == b->kind && a->dtype == b->dtype && type_same_shape(a, b);
}

Dim type_count(const Type *t) {
  Dim n = DIM(1);
  for (int i = 0; i < t->rank; i++) n = dim_mul(n, t->dims[i]);
  return n;
}

bool type_is_static(const Type *t) {
  if (t->rank < 0) return false;
  for (int i = 0; i < t->rank; i++)
    if (!dim_is_const(t->dims[i])) return false;
  return true;
}

void type_print(Text *t, const Type *x) {
  if (x->kind == KIND_SEQUENCE) text_put(t, "seq ");
  if (x->kind == KIND_OPTIONAL) text_put(t, "opt ");
  text_put(t, dtype_info[x->dtype].text);
  text_put(t, "[");
  if (x->rank < 0) text_put(t, "*");
  for (int i = 0; i < x->rank; i++) {
    if (i) text_put(t, ",");
    dim_print(t, x->dims[i]);
  }
  text_put(t, "]");
}

const char *type_text(const Type *x) {
  Text t = {0};
  type_print(&t, x);
  const char *s = intern(t.at);
  text_free(&t);
  return s;
}
