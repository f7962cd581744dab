/* Checks that a module is one: run after every pass, and on text that people write. A failure here is a bug
 * of the pass that ran last.
 *
 *   ids       every reference is to something that exists; defs and owners point back
 *   order     a value is used after its definition, in its graph or one around it
 *   op rows   arity, attributes, their kinds
 *   types     inferring again finds the same element type and rank, and no dim that contradicts
 *   names     unique */
#include "ir/ops.h"
#include <stdarg.h>
#include <string.h>

typedef struct Verify {
  Module *m;
  Diags *d;
  Arena tmp;
  bool *visible;                       /* per value: may be used here */
  bool *listed;                        /* per node: seen in a list */
  int errors;
} Verify;

static void wrong(Verify *v, const Node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void wrong(Verify *v, const Node *n, const char *fmt, ...) {
  char text[500];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  v->errors++;
  diag_error(v->d, "internal", n ? node_where(v->m, n) : NULL, "%s", text);
}

static bool exists(Verify *v, ValueId x) { return x > 0 && x < (ValueId)v->m->values.len; }

/* Is `name` in the row's list, with this kind? "axis:int mode:str=" */
static bool attr_allowed(const char *row, const Attr *a) {
  size_t n = strlen(a->name);
  for (const char *s = row; s && *s; s = strchr(s, ' ') ? strchr(s, ' ') + 1 : NULL) {
    if (strncmp(s, a->name, n) || s[n] != ':') continue;
    const char *kind = attr_kind_text(a->kind);
    size_t k = strlen(kind);
    return !strncmp(s + n + 1, kind, k) && (!s[n + 1 + k] || s[n + 1 + k] == ' ' || s[n + 1 + k] == '=');
  }
  return false;
}

static void check_row(Verify *v, const Node *n) {
  const OpInfo *row = &op_info[n->op];
  if (n->nin < row->min_in || (row->max_in >= 0 && n->nin > row->max_in)) wrong(v, n, "%d inputs", n->nin);
  if (row->nout >= 0 && n->nout != row->nout) wrong(v, n, "%d outputs, the op has %d", n->nout, row->nout);
  for (int i = 0; i < n->nattr; i++)
    if (!attr_allowed(row->attrs, &n->attr[i]))
      wrong(v, n, "attribute '%s' (%s) is not in the op's row", n->attr[i].name, attr_kind_text(n->attr[i].kind));
  if ((n->nregion > 0) != (row->how == HOW_CONTROL)) wrong(v, n, "%d regions", n->nregion);
}

static void check_uses(Verify *v, const Node *n) {
  for (int i = 0; i < n->nin; i++) {
    if (!n->in[i]) continue;                                     // absent
    if (!exists(v, n->in[i])) wrong(v, n, "input %d is value %u, which does not exist", i, n->in[i]);
    else if (!v->visible[n->in[i]] && !value_of(v->m, n->in[i])->constant)
      wrong(v, n, "input %d, %%%s, is used before its definition or outside of its region", i,
            value_of(v->m, n->in[i])->name);
  }
}

static void check_outputs(Verify *v, NodeId id) {
  const Node *n = node_of(v->m, id);
  for (int i = 0; i < n->nout; i++) {
    if (!exists(v, n->out[i])) { wrong(v, n, "output %d is value %u, which does not exist", i, n->out[i]); continue; }
    const Value *x = value_of(v->m, n->out[i]);
    if (x->def != id || x->def_index != i)
      wrong(v, n, "output %d, %%%s, names another node as its definition", i, x->name);
    if (x->constant) wrong(v, n, "output %d, %%%s, is also a constant", i, x->name);
    if (v->visible[n->out[i]]) wrong(v, n, "output %d, %%%s, is defined twice", i, x->name);
    v->visible[n->out[i]] = true;
  }
}

static bool contradicts(const Type *a, const Type *b) {
  if (a->kind != b->kind || a->dtype != b->dtype || a->rank != b->rank) return true;
  for (int i = 0; i < a->rank; i++)
    if (dim_lo(a->dims[i]) > dim_hi(b->dims[i]) || dim_hi(a->dims[i]) < dim_lo(b->dims[i])) return true;
  return false;
}

/* Infers again, compares, and leaves everything as it was. */
static void check_types(Verify *v, NodeId id) {
  Module *m = v->m;
  const Node *n = node_of(m, id);
  Value *was = NEW_N(&v->tmp, Value, n->nout);
  for (int i = 0; i < n->nout; i++) was[i] = *value_of(m, n->out[i]);
  int errors = m->diags->errors;
  if (!infer_node(m, id)) {
    v->errors++;
    if (m->diags->errors == errors) wrong(v, n, "an input has no type");
  }
  n = node_of(m, id);
  for (int i = 0; i < n->nout; i++) {
    Value *x = value_of(m, n->out[i]);
    if (m->diags->errors == errors && contradicts(&was[i].type, &x->type))
      wrong(v, n, "%%%s is %s, and its inputs make it %s", x->name, type_text(&was[i].type), type_text(&x->type));
    x->type = was[i].type;
    x->content = was[i].content;
  }
}

static void check_graph(Verify *v, Graph *g);

static void check_node(Verify *v, Graph *g, NodeId id) {
  const Node *n = node_of(v->m, id);
  if (n->dead) { wrong(v, n, "is dead and still in the list of '%s'", g->name); return; }
  if (v->listed[id]) { wrong(v, n, "is in two lists"); return; }
  v->listed[id] = true;
  if (n->graph != g)
    wrong(v, n, "is in the list of '%s' and says it belongs to '%s'", g->name, n->graph ? n->graph->name : "none");
  if (n->op <= OP_NONE || n->op >= OP_COUNT) { wrong(v, n, "has no op"); return; }
  int before = v->errors;
  check_row(v, n);
  check_uses(v, n);
  for (int r = 0; r < n->nregion; r++) {
    if (n->region[r]->owner != id) wrong(v, n, "region '%s' names another owner", n->region[r]->name);
    check_graph(v, n->region[r]);
  }
  check_outputs(v, id);
  if (v->errors == before) check_types(v, id);
}

static void check_graph(Verify *v, Graph *g) {
  for (int i = 0; i < g->inputs.len; i++) {
    if (!exists(v, g->inputs.at[i])) { wrong(v, NULL, "input %d of '%s' does not exist", i, g->name); continue; }
    if (value_of(v->m, g->inputs.at[i])->def)
      wrong(v, NULL, "input %%%s is also a node's output", value_of(v->m, g->inputs.at[i])->name);
    v->visible[g->inputs.at[i]] = true;
  }
  for (int i = 0; i < g->nodes.len; i++) check_node(v, g, g->nodes.at[i]);
  for (int i = 0; i < g->outputs.len; i++) {
    ValueId x = g->outputs.at[i];
    if (!exists(v, x)) wrong(v, NULL, "output %d of '%s' does not exist", i, g->name);
    else if (!v->visible[x] && !value_of(v->m, x)->constant)
      wrong(v, NULL, "output %%%s of '%s' is never defined", value_of(v->m, x)->name, g->name);
  }
  for (int i = 0; g->owner && i < g->nodes.len; i++) {           // a region's values end with it
    const Node *n = node_of(v->m, g->nodes.at[i]);
    for (int k = 0; k < n->nout; k++) v->visible[n->out[k]] = false;
  }
  for (int i = 0; g->owner && i < g->inputs.len; i++) v->visible[g->inputs.at[i]] = false;
}

static void check_names(Verify *v) {
  for (int i = 1; i < v->m->values.len; i++) {
    const Value *x = &v->m->values.at[i];
    if (!x->name || !*x->name) wrong(v, NULL, "value %d has no name", i);
    else if (graph_find_value(v->m, x->name) != (ValueId)i)
      wrong(v, NULL, "the name %%%s is not registered for its value, or taken twice (graph_rename_value)", x->name);
  }
}

bool module_verify(Module *m, Diags *d) {
  Verify v = {.m = m, .d = d};
  v.visible = NEW_N(&v.tmp, bool, m->values.len);
  v.listed = NEW_N(&v.tmp, bool, m->nodes.len);
  check_graph(&v, m->main);
  check_names(&v);
  arena_free(&v.tmp);
  return v.errors == 0;
}
