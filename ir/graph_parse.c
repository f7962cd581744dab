/* Reads what module_print writes; the grammar is in graph_text.c.
 *
 * Recursive descent straight into the module: every node is inferred as soon as its regions are there, and a
 * type that the text states must be the inferred one. The first mistake in the syntax ends it ("12:7: …");
 * whatever the text is, the result is a module or an error. */
#include "ir/graph_parse.h"
#include "base/intern.h"
#include "ir/ops.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- values ---- */

static ValueId use(Parser *p) {                                 // 0 after an error
  const char *at = p->s;
  if (!parse_expect(p, "%")) return 0;
  const char *name = parse_word(p);
  if (!name) return 0;
  ValueId v = graph_find_value(p->m, name);
  if (!v) { p->s = at; parse_fail(p, "%%%s is not defined before this use", name); }
  return v;
}

typedef struct Stated { const char *name; Type type; bool typed; Storage at; } Stated;

static bool stated_value(Parser *p, Stated *v) {
  memset(v, 0, sizeof *v);
  if (!parse_expect(p, "%")) return false;
  const char *at = p->s;
  if (!(v->name = parse_word(p))) return false;
  if (graph_find_value(p->m, v->name)) { p->s = at; return parse_fail(p, "%%%s is defined twice", v->name); }
  if (!parse_eat(p, ":")) return true;
  v->typed = true;
  return parse_type(p, &v->type);
}

/* A value may live in one that is defined later (the part of a concat): skipped here, read at the end. */
static bool skip_storage(Parser *p, const char **at) {
  *at = NULL;
  if (!parse_eat(p, "at")) return true;
  *at = p->s;
  const Dim *d;
  int n;
  Dim x;
  if (!parse_expect(p, "%") || !parse_word(p) || !parse_expect(p, "+") || !parse_dim(p, &x)) return false;
  return parse_expect(p, "strides") && parse_expect(p, "[") && parse_dim_list(p, &d, &n) && parse_expect(p, "size") &&
         parse_dim(p, &x);
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
    if (!(s.base = use(p)) || !parse_expect(p, "+") || !parse_dim(p, &s.offset)) return false;
    if (!parse_expect(p, "strides") || !parse_expect(p, "[") || !parse_dim_list(p, &d, &n)) return false;
    if (n > MAX_RANK) return parse_fail(p, "rank %d is more than %d", n, MAX_RANK);
    for (int i = 0; i < n; i++) s.stride[i] = d[i];
    if (!parse_expect(p, "size") || !parse_dim(p, &s.size)) return false;
    value_of(p->m, p->later.at[k].value)->at = s;
  }
  p->s = end;
  return true;
}

static ValueId new_input(Parser *p, Graph *g) {
  Stated v;
  if (!stated_value(p, &v)) return 0;
  if (!v.typed) { parse_fail(p, "an input needs a type"); return 0; }
  ValueId id = graph_add_input(g, v.name, v.type);
  const char *at;
  if (!skip_storage(p, &at)) return 0;
  stored_later(p, id, at);
  return id;
}

static bool weight(Parser *p) {
  Stated v;
  if (!stated_value(p, &v)) return false;
  if (!v.typed) return parse_fail(p, "a weight needs a type");
  const Tensor *x;
  const char *at;
  if (!skip_storage(p, &at) || !parse_expect(p, "=") || !parse_tensor(p, &v.type, &x)) return false;
  stored_later(p, graph_add_constant(p->m, v.name, x), at);
  if (dtype_is_float(x->dtype)) p->m->parameters += tensor_count(x);
  return true;
}

/* ---- nodes ---- */

static bool attr_value(Parser *p, Attr *a) {
  Arena *perm = &p->m->perm;
  const char *s;
  if (parse_eat(p, "[")) { a->kind = ATTR_DIMS; return parse_dim_list(p, &a->dims, &a->n); }
  if (parse_eat(p, "f[")) {
    VEC(double) v = {0};
    a->kind = ATTR_FLOATS;
    if (!parse_eat(p, "]")) {
      do if (!parse_real(p, vec_push(perm, &v))) return false; while (parse_eat(p, ","));
      if (!parse_expect(p, "]")) return false;
    }
    a->floats = v.len ? v.at : NEW(perm, double);
    a->n = v.len;
    return true;
  }
  if (parse_eat(p, "s[")) {
    VEC(const char *) v = {0};
    a->kind = ATTR_STRS;
    if (!parse_eat(p, "]")) {
      do {
        if (!(s = parse_string(p))) return parse_fail(p, "expected a string");
        *vec_push(perm, &v) = s;
      } while (parse_eat(p, ","));
      if (!parse_expect(p, "]")) return false;
    }
    a->strs = v.len ? v.at : NEW(perm, const char *);
    a->n = v.len;
    return true;
  }
  if (parse_eat(p, "tensor")) {
    Type t;
    a->kind = ATTR_TENSOR;
    return parse_type(p, &t) && parse_tensor(p, &t, &a->tensor);
  }
  if ((s = parse_string(p))) { a->kind = ATTR_STR; a->s = s; return true; }
  if (p->failed) return false;
  const char *w = p->s + (*p->s == '-'), *e = w;
  while (isdigit((unsigned char)*e)) e++;
  if (e > w && *e != '.' && *e != 'e') { a->kind = ATTR_INT; return parse_integer(p, &a->i); }
  if (e > w || !strncmp(w, "inf", 3) || !strncmp(w, "nan", 3)) { a->kind = ATTR_FLOAT; return parse_real(p, &a->f); }
  if (!(s = parse_word(p))) return false;
  a->kind = ATTR_DTYPE;
  a->i = dtype_from_text(s);
  return a->i || parse_fail(p, "'%s' is not an element type", s);
}

static bool source(Parser *p, Source *s) {
  if (!parse_eat(p, "_") && !(s->node = parse_string(p)))
    return parse_fail(p, "expected the source node's name in quotes");
  if (!parse_eat(p, ":")) return true;
  s->op = parse_string(p);
  if (s->op && !*s->op) s->op = NULL;
  int64_t line = 0;
  if (parse_eat(p, ":") && !parse_integer(p, &line)) return false;
  s->line = (int)line;
  return true;
}

static bool items(Parser *p, Graph *g);

static bool region(Parser *p, NodeId n) {
  const char *name = parse_word(p);
  if (!name || !parse_expect(p, "(")) return false;
  if (++p->depth > 100) return parse_fail(p, "regions are nested too deeply");
  Graph *g = graph_new(p->m, name, n);
  if (!parse_eat(p, ")")) {
    do if (!new_input(p, g)) return false; while (parse_eat(p, ","));
    if (!parse_expect(p, ")")) return false;
  }
  if (!parse_expect(p, "{") || !items(p, g) || !parse_expect(p, "yield")) return false;
  parse_skip(p);
  if (*p->s == '%')
    do {
      ValueId v = use(p);
      if (!v) return false;
      *vec_push(&p->m->perm, &g->outputs) = v;
    } while (parse_eat(p, ","));
  if (!parse_expect(p, "}")) return false;
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
  while (parse_eat(p, "region"))
    if (!region(p, id)) return false;
  if (p->failed) return false;
  if (!infer_node(m, id)) { p->failed = true; return false; }
  const char *end = p->s;
  for (int i = 0; i < out->len; i++) {
    ValueId v = node_of(m, id)->out[i];
    Type *t = &value_of(m, v)->type;
    if (out->at[i].typed && !type_eq(t, &out->at[i].type)) {
      p->s = places[i];
      return parse_fail(p, "%%%s is stated as %s, and its inputs make it %s", out->at[i].name,
                        type_text(&out->at[i].type), type_text(t));
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
    parse_skip(p);
    *vec_push(perm, &places) = p->s;
    Stated v;
    if (!stated_value(p, &v)) return false;
    *vec_push(perm, &out) = v;
    const char *place;
    if (!skip_storage(p, &place)) return false;
    *vec_push(perm, &at) = place;
  } while (parse_eat(p, ","));
  if (!parse_expect(p, "=")) return false;
  parse_skip(p);
  const char *op_at = p->s, *op_name = parse_word(p);
  if (!op_name) return false;
  Op op = op_from_text(op_name);
  if (!op) { p->s = op_at; return parse_fail(p, "there is no op '%s'", op_name); }
  if (!parse_expect(p, "(")) return false;
  if (!parse_eat(p, ")")) {
    do {
      ValueId v = 0;
      if (!parse_eat(p, "_") && !(v = use(p))) return false;
      *vec_push(perm, &in) = v;
    } while (parse_eat(p, ","));
    if (!parse_expect(p, ")")) return false;
  }
  if (parse_eat(p, "{") && !parse_eat(p, "}")) {
    do {
      Attr a = {.name = parse_word(p)};
      if (!a.name || !parse_expect(p, "=") || !attr_value(p, &a)) return false;
      *vec_push(perm, &attr) = a;
    } while (parse_eat(p, ","));
    if (!parse_expect(p, "}")) return false;
  }
  int64_t group = 0;
  Source src = {0};
  if (parse_eat(p, "fused") && !parse_integer(p, &group)) return false;
  if (parse_eat(p, "@") && !source(p, &src)) return false;
  graph_set_source(p->m, src);
  NodeId id = graph_new_node(g, op, in.at, in.len, out.len, attr.at, attr.len);
  node_of(p->m, id)->group = (int)group;
  for (int i = 0; i < out.len; i++)                              // the fresh names may be those that the text gives
    graph_rename_value(p->m, node_of(p->m, id)->out[i], "\001being named");
  for (int i = 0; i < out.len; i++) {
    ValueId v = node_of(p->m, id)->out[i];
    if (graph_find_value(p->m, out.at[i].name)) return parse_fail(p, "%%%s is defined twice", out.at[i].name);
    graph_rename_value(p->m, v, out.at[i].name);
    stored_later(p, v, at.at[i]);
  }
  return finish_node(p, id, &out, places.at);
}

/* Weights and nodes, up to something else. */
static bool items(Parser *p, Graph *g) {
  for (;;) {
    parse_skip(p);
    if (parse_eat(p, "weight") ? !weight(p) : *p->s == '%' ? !node(p, g) : true) return !p->failed;
  }
}

static bool symbol(Parser *p) {
  parse_skip(p);
  const char *name = dim_parse_symbol(&p->s);
  int64_t lo, hi;
  if (!name) return parse_fail(p, "expected the name of a dim");
  if (!parse_expect(p, "in") || !parse_integer(p, &lo)) return false;
  if (!parse_expect(p, "..") || !parse_integer(p, &hi)) return false;
  if (lo > hi) return parse_fail(p, "the bounds of %s are empty", name);
  dim_symbol(name, lo, hi);
  return true;
}

static bool state(Parser *p) {
  StateSlot s = {.name = parse_word(p)};
  if (!s.name || !parse_expect(p, ":")) return false;
  if (!parse_eat(p, "_") && !(s.value = use(p))) return false;
  if (!parse_expect(p, "->")) return false;
  if (!parse_eat(p, "_") && !(s.next = use(p))) return false;
  s.name = intern(s.name);
  *vec_push(&p->m->perm, &p->m->state) = s;
  return true;
}

static bool module(Parser *p) {
  if (!parse_expect(p, "module")) return false;
  const char *name = parse_word(p), *path = NULL;
  if (!name) return false;
  if (parse_eat(p, "from") && !(path = parse_string(p))) return parse_fail(p, "expected a path in quotes");
  p->m = module_new(name, p->d);
  p->m->path = path;
  if (!parse_expect(p, "{")) return false;
  while (!parse_eat(p, "}")) {
    bool ok;
    if (parse_eat(p, "dim")) ok = symbol(p);
    else if (parse_eat(p, "input")) ok = new_input(p, p->m->main) != 0;
    else if (parse_eat(p, "output")) {
      ValueId v = use(p);
      if ((ok = v != 0)) *vec_push(&p->m->perm, &p->m->main->outputs) = v;
    } else if (parse_eat(p, "state")) {
      ok = state(p);
    } else {
      const char *before = p->s;
      ok = items(p, p->m->main) && (p->s != before ||
           parse_fail(p, "expected dim, input, weight, a node, output or '}'"));
    }
    if (!ok) return false;
  }
  if (!read_storage(p)) return false;
  parse_skip(p);
  graph_set_source(p->m, (Source){0});
  return !*p->s || parse_fail(p, "expected the end");
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
