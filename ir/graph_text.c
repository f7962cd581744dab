/* Prints modules. The grammar (`//` starts a comment; names that are not plain words are quoted):
 *
 *   module   := "module" name ["from" string] "{" item* "}"
 *   item     := "dim" symbol "in" int ".." int | "input" value | "weight" value "=" tensor | node | "output" %name | state
 *   state    := "state" name ":" (%name | "_") "->" (%name | "_")      what it is, what it becomes
 *   value    := %name [":" type] ["at" %name "+" dim "strides" dims "size" dim]
 *   type     := ["seq" | "opt"] dtype "[" ("*" | dim,*) "]"
 *   node     := value,* "=" op "(" (%name | "_"),* ")" ["{" attr,* "}"] ["fused" int] ["@" source] region*
 *   region   := "region" name "(" value,* ")" "{" (weight | node)* "yield" %name,* "}"
 *   attr     := name "=" (int | float | string | dtype | "[" dim,* "]" | "f" "[" float,* "]" | "s" "[" string,* "]"
 *               | "tensor" type tensor)
 *   tensor   := "[" element,* "]" | "fill" element | "#" hash | "random" seed     (random: only read, for tests)
 *   source   := (string | "_") [":" string [":" line]]          ONNX node name, operator, line
 *
 * Only symbols that occur are declared, in order of creation. Weights come where they are first used. */
#include "ir/graph_text.h"
#include "ir/ops.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct Printer { Text *t; Module *m; Arena tmp; bool *printed; bool *symbols; } Printer;

bool is_plain_name(const char *s) {
  if (!*s) return false;
  for (; *s; s++)
    if (!isalnum((unsigned char)*s) && !strchr("_./-", *s)) return false;
  return true;
}

static void put_string(Text *t, const char *s) {
  text_put(t, "\"");
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') text_printf(t, "\\%c", c);
    else if (c < 32) text_printf(t, "\\x%02x", c);
    else text_bytes(t, s, 1);
  }
  text_put(t, "\"");
}

static void put_word(Text *t, const char *s) {
  if (is_plain_name(s)) text_put(t, s);
  else put_string(t, s);
}

static void put_name(Printer *p, ValueId v) {
  if (!v) { text_put(p->t, "_"); return; }
  text_put(p->t, "%");
  put_word(p->t, value_of(p->m, v)->name);
}

/* The shortest text that reads back as the same number (`narrow`: as the same f32), and never looks like an
 * integer. */
static void put_float(Text *t, double v, bool narrow) {
  char buf[64] = "nan";
  if (v > -1e9 && v < 1e9 && v == (double)(int64_t)v) {
    text_printf(t, "%.1f", v);
    return;
  }
  if (v == v)
    for (int digits = 1; digits <= 17; digits++) {
      snprintf(buf, sizeof buf, "%.*g", digits, v);
      double back = strtod(buf, NULL);
      if (back == v || (narrow && (float)back == (float)v)) break;
    }
  text_put(t, buf);
  if (!strpbrk(buf, ".en")) text_put(t, ".0");
}

/* ---- tensors ---- */

uint64_t tensor_hash(const Tensor *t) {
  XXH64_hash_t h = (XXH64_hash_t)t->dtype;
  if (t->dtype == DT_STRING) {
    for (int64_t i = 0, n = tensor_count(t); i < n; i++) {
      const char *s = ((const char *const *)t->data)[i];
      h = XXH3_64bits_withSeed(s, strlen(s) + 1, h);
    }
    return h;
  }
  return t->data ? XXH3_64bits_withSeed(t->data, tensor_bytes(t), h) : 0;
}

static void put_element(Text *t, const Tensor *x, int64_t i) {
  switch (dtype_info[x->dtype].cls) {
    case CLASS_FLOAT: put_float(t, tensor_get(x, i), x->dtype != DT_F64); break;
    case CLASS_INT: case CLASS_BOOL: text_printf(t, "%" PRId64, tensor_get_int(x, i)); break;
    case CLASS_UINT: text_printf(t, "%" PRIu64, (uint64_t)tensor_get_int(x, i)); break;
    case CLASS_STRING: put_string(t, ((const char *const *)x->data)[i]); break;
    case CLASS_COMPLEX:
      put_float(t, x->dtype == DT_C64 ? (double)((float *)x->data)[2 * i] : ((double *)x->data)[2 * i],
                x->dtype == DT_C64);
      text_put(t, " ");
      put_float(t, x->dtype == DT_C64 ? (double)((float *)x->data)[2 * i + 1] : ((double *)x->data)[2 * i + 1],
                x->dtype == DT_C64);
      break;
    case CLASS_NONE: break;
  }
}

static bool is_uniform(const Tensor *x, int64_t n) {
  size_t b = (size_t)dtype_bytes(x->dtype);
  return n > 1 && x->dtype != DT_STRING && !memcmp(x->data, (const char *)x->data + b, (size_t)(n - 1) * b);
}

static bool is_inline(const Tensor *x) {
  int64_t n = tensor_count(x);
  return n <= INLINE_ELEMENTS || x->dtype == DT_STRING || (x->data && is_uniform(x, n));
}

static void put_tensor(Text *t, const Tensor *x) {
  int64_t n = tensor_count(x);
  if (!x->data || !is_inline(x)) { text_printf(t, "#%016" PRIx64, tensor_hash(x)); return; }
  if (is_uniform(x, n)) { text_put(t, "fill "); put_element(t, x, 0); return; }
  text_put(t, "[");
  for (int64_t i = 0; i < n; i++) {
    if (i) text_put(t, ", ");
    put_element(t, x, i);
  }
  text_put(t, "]");
}

static Type tensor_type(const Tensor *x) {
  Type t = type_of(x->dtype, 0, NULL);
  t.rank = x->rank;
  for (int i = 0; i < x->rank; i++) t.dims[i] = DIM(x->dims[i]);
  return t;
}

/* ---- attributes, values, nodes ---- */

static void put_dims(Text *t, const Dim *d, int n) {
  text_put(t, "[");
  for (int i = 0; i < n; i++) {
    if (i) text_put(t, ",");
    dim_print(t, d[i]);
  }
  text_put(t, "]");
}

void attr_print(Text *t, const Attr *a) {
  put_word(t, a->name);
  text_put(t, "=");
  switch (a->kind) {
    case ATTR_INT: text_printf(t, "%" PRId64, a->i); break;
    case ATTR_FLOAT: put_float(t, a->f, false); break;
    case ATTR_STR: put_string(t, a->s); break;
    case ATTR_DTYPE: text_put(t, dtype_info[a->i].text); break;
    case ATTR_DIMS: put_dims(t, a->dims, a->n); break;
    case ATTR_FLOATS:
      text_put(t, "f[");
      for (int i = 0; i < a->n; i++) {
        if (i) text_put(t, ",");
        put_float(t, a->floats[i], false);
      }
      text_put(t, "]");
      break;
    case ATTR_STRS:
      text_put(t, "s[");
      for (int i = 0; i < a->n; i++) {
        if (i) text_put(t, ",");
        put_string(t, a->strs[i]);
      }
      text_put(t, "]");
      break;
    case ATTR_TENSOR: {
      Type type = tensor_type(a->tensor);
      text_put(t, "tensor ");
      type_print(t, &type);
      text_put(t, " ");
      put_tensor(t, a->tensor);
      break;
    }
  }
}

static void put_value(Printer *p, ValueId v) {
  const Value *x = value_of(p->m, v);
  put_name(p, v);
  text_put(p->t, " : ");
  type_print(p->t, &x->type);
  if (!x->at.base) return;
  text_put(p->t, " at ");
  put_name(p, x->at.base);
  text_put(p->t, " + ");
  dim_print(p->t, x->at.offset);
  text_put(p->t, " strides ");
  put_dims(p->t, x->at.stride, x->type.rank);
  text_put(p->t, " size ");
  dim_print(p->t, x->at.size);
}

static void indent(Printer *p, int depth) {
  for (int i = 0; i < depth; i++) text_put(p->t, "  ");
}

static void put_weight(Printer *p, ValueId v, int depth) {
  const Value *x = value_of(p->m, v);
  if (!v || !x->constant || p->printed[v]) return;
  p->printed[v] = true;
  indent(p, depth);
  text_put(p->t, "weight ");
  put_value(p, v);
  text_put(p->t, " = ");
  put_tensor(p->t, x->constant);
  text_put(p->t, "\n");
}

static void put_source(Text *t, const Source *s) {
  if (!s->node && !s->op && !s->line) return;
  text_put(t, " @");
  if (s->node) put_string(t, s->node);
  else text_put(t, "_");
  if (!s->op && !s->line) return;
  text_put(t, ":");
  put_string(t, s->op ? s->op : "");
  if (s->line) text_printf(t, ":%d", s->line);
}

static void put_graph(Printer *p, const Graph *g, int depth);

static void put_node(Printer *p, NodeId id, int depth) {
  const Node *n = node_of(p->m, id);
  for (int i = 0; i < n->nin; i++) put_weight(p, n->in[i], depth);
  indent(p, depth);
  for (int i = 0; i < n->nout; i++) {
    if (i) text_put(p->t, ", ");
    put_value(p, n->out[i]);
  }
  text_printf(p->t, "%s= %s(", n->nout ? " " : "", op_info[n->op].text);
  for (int i = 0; i < n->nin; i++) {
    if (i) text_put(p->t, ", ");
    put_name(p, n->in[i]);
  }
  text_put(p->t, ")");
  for (int i = 0; i < n->nattr; i++) {
    text_put(p->t, i ? ", " : " {");
    attr_print(p->t, &n->attr[i]);
  }
  if (n->nattr) text_put(p->t, "}");
  if (n->group) text_printf(p->t, " fused %d", n->group);
  put_source(p->t, &n->source);
  text_put(p->t, "\n");
  for (int r = 0; r < n->nregion; r++) {
    const Graph *g = n->region[r];
    indent(p, depth + 1);
    text_put(p->t, "region ");
    put_word(p->t, g->name);
    text_put(p->t, "(");
    for (int i = 0; i < g->inputs.len; i++) {
      if (i) text_put(p->t, ", ");
      put_value(p, g->inputs.at[i]);
    }
    text_put(p->t, ") {\n");
    put_graph(p, g, depth + 2);
    indent(p, depth + 2);
    text_put(p->t, "yield");
    for (int i = 0; i < g->outputs.len; i++) {
      text_put(p->t, i ? ", " : " ");
      put_name(p, g->outputs.at[i]);
    }
    text_put(p->t, "\n");
    indent(p, depth + 1);
    text_put(p->t, "}\n");
  }
}

static void put_graph(Printer *p, const Graph *g, int depth) {
  for (int i = 0; i < g->nodes.len; i++)
    if (!node_of(p->m, g->nodes.at[i])->dead) put_node(p, g->nodes.at[i], depth);
  for (int i = 0; i < g->outputs.len; i++) put_weight(p, g->outputs.at[i], depth);
}

/* ---- which symbols occur ---- */

static void *mark_symbol(void *ctx, DimKind k, int64_t c, const char *symbol, void *x, void *y) {
  (void)c; (void)x; (void)y;
  Printer *p = ctx;
  for (int i = 0; k == DIM_SYMBOL && i < symbol_count(); i++)
    if (symbol_at(i)->name == symbol) p->symbols[i] = true;
  return ctx;
}

static void mark_dims(Printer *p, const Dim *d, int n) {
  for (int i = 0; i < n; i++)
    if (!dim_is_const(d[i])) dim_fold(d[i], mark_symbol, p);
}

static void mark_value(Printer *p, ValueId v) {
  const Value *x = value_of(p->m, v);
  mark_dims(p, x->type.dims, x->type.rank);
  if (!x->at.base) return;
  mark_dims(p, x->at.stride, x->type.rank);
  mark_dims(p, &x->at.offset, 1);
  mark_dims(p, &x->at.size, 1);
}

static void mark_graph(Printer *p, const Graph *g) {
  for (int i = 0; i < g->inputs.len; i++) mark_value(p, g->inputs.at[i]);
  for (int i = 0; i < g->nodes.len; i++) {
    const Node *n = node_of(p->m, g->nodes.at[i]);
    if (n->dead) continue;
    for (int k = 0; k < n->nout; k++) mark_value(p, n->out[k]);
    for (int k = 0; k < n->nattr; k++)
      if (n->attr[k].kind == ATTR_DIMS) mark_dims(p, n->attr[k].dims, n->attr[k].n);
    for (int r = 0; r < n->nregion; r++) mark_graph(p, n->region[r]);
  }
}

void module_print(Text *t, Module *m) {
  Printer p = {.t = t, .m = m};
  p.printed = NEW_N(&p.tmp, bool, m->values.len);
  p.symbols = NEW_N(&p.tmp, bool, symbol_count() + 1);
  text_put(t, "module ");
  put_word(t, m->name);
  if (m->path) { text_put(t, " from "); put_string(t, m->path); }
  text_put(t, " {\n");
  mark_graph(&p, m->main);
  for (int i = 0; i < symbol_count(); i++) {
    if (!p.symbols[i]) continue;
    const Symbol *s = symbol_at(i);
    text_put(t, "  dim ");
    dim_print_symbol(t, s->name);
    text_printf(t, " in %" PRId64 "..%" PRId64 "\n", s->lo, s->hi);
  }
  for (int i = 0; i < m->main->inputs.len; i++) {
    text_put(t, "  input ");
    put_value(&p, m->main->inputs.at[i]);
    text_put(t, "\n");
  }
  put_graph(&p, m->main, 1);
  for (int i = 0; i < m->main->outputs.len; i++) {
    text_put(t, "  output ");
    put_name(&p, m->main->outputs.at[i]);
    text_put(t, "\n");
  }
  for (int i = 0; i < m->state.len; i++) {
    text_put(t, "  state ");
    put_word(t, m->state.at[i].name);
    text_put(t, " : ");
    put_name(&p, m->state.at[i].value);
    text_put(t, " -> ");
    put_name(&p, m->state.at[i].next);
    text_put(t, "\n");
  }
  text_put(t, "}\n");
  arena_free(&p.tmp);
}

/* ---- the side file ---- */

static bool put_record(FILE *f, const Tensor *x) {
  if (!x->data || is_inline(x)) return true;
  uint64_t head[2] = {tensor_hash(x), tensor_bytes(x)};
  static const char zero[8];
  size_t pad = (8 - head[1] % 8) % 8;
  return fwrite(head, sizeof head, 1, f) == 1 && fwrite(x->data, 1, head[1], f) == head[1] &&
         fwrite(zero, 1, pad, f) == pad;
}

/* Written in place: a dump is remade by running again, and may be large. Equal tensors are written twice. */
bool module_save_weights(Module *m, const char *path, char *why, size_t why_len) {
  FILE *f = fopen(path, "wb");
  bool ok = f && fwrite(WEIGHTS_MAGIC, 1, 8, f) == 8;
  for (int i = 1; ok && i < m->values.len; i++)
    if (m->values.at[i].constant) ok = put_record(f, m->values.at[i].constant);
  for (int i = 1; ok && i < m->nodes.len; i++)
    for (int k = 0; ok && k < m->nodes.at[i].nattr; k++)
      if (m->nodes.at[i].attr[k].kind == ATTR_TENSOR) ok = put_record(f, m->nodes.at[i].attr[k].tensor);
  if (f && fclose(f)) ok = false;
  if (!ok) snprintf(why, why_len, "cannot write %s", path);
  return ok;
}
