/* The evaluator's frame: values, symbols, nodes in order. What the single ops mean is in eval_*.c.
 *
 * Before a node runs, its outputs are allocated from the inferred type. A dim that contains a symbol nobody
 * has bound yet is data-dependent: the op calls eval_output with what it found, and the symbol is bound from
 * that. In loops such symbols are bound anew in every iteration. Afterwards each output must agree with its
 * inferred type; if not, infer and eval contradict each other, which is reported as our mistake. */
#include "ir/eval_kit.h"
#include "base/intern.h"
#include <stdarg.h>
#include <stdio.h>

void eval_begin(Eval *e, Module *m) {
  memset(e, 0, sizeof *e);
  e->m = m;
  e->diags = m->diags;
  eval_value(e, 0);
}

void eval_end(Eval *e) {
  arena_free(&e->arena);
  arena_free(&e->own);
  memset(e, 0, sizeof *e);
}

/* Passes add values while an evaluator is open (the folder does): the table follows the module. */
static void grow_values(Eval *e) {
  int want = e->m->values.len;
  if (want <= e->nvalues) return;
  int cap = want + want / 2 + 16;
  const Tensor **table = NEW_N(&e->own, const Tensor *, cap);
  if (e->nvalues) memcpy(table, e->value, sizeof *table * (size_t)e->nvalues);
  for (int v = e->nvalues; v < want; v++) table[v] = e->m->values.at[v].constant;
  e->value = table;
  e->nvalues = want;
}

const Tensor *eval_value(Eval *e, ValueId v) {
  grow_values(e);
  if ((int)v >= e->nvalues) return NULL;
  return e->value[v] ? e->value[v] : e->m->values.at[v].constant;
}

void eval_set_value(Eval *e, ValueId v, const Tensor *t) {
  grow_values(e);
  e->value[v] = t;
}

bool eval_fail(Eval *e, const Node *n, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  diag_error(e->diags, "eval", n ? node_where(e->m, n) : NULL, "%s", text);
  return false;
}

/* ---- symbols ---- */

void eval_bind_symbol(Eval *e, const char *symbol, int64_t v) {
  for (int i = 0; i < e->bound.len; i++)
    if (!strcmp(e->bound.at[i].symbol, symbol)) {
      if (!e->bound.at[i].given) e->bound.at[i].value = v;
      return;
    }
  vec_push(&e->own, &e->bound);
  e->bound.at[e->bound.len - 1].symbol = intern(symbol);
  e->bound.at[e->bound.len - 1].value = v;
}

typedef struct Lookup { Eval *e; const char *unbound; int64_t stand_in; bool use_stand_in; } Lookup;

static int64_t symbol_value(const char *symbol, void *ctx) {
  Lookup *l = ctx;
  for (int i = 0; i < l->e->bound.len; i++)
    if (!strcmp(l->e->bound.at[i].symbol, symbol)) return l->e->bound.at[i].value;
  if (!l->unbound) l->unbound = symbol;
  if (l->use_stand_in) return l->stand_in;
  const Symbol *s = symbol_find(symbol);
  return s ? s->lo : 0;
}

int64_t eval_dim(Eval *e, Dim d) {
  if (dim_is_const(d)) return d.k;
  Lookup l = {.e = e};
  return dim_eval(d, symbol_value, &l);
}

bool eval_dim_known(Eval *e, Dim d, int64_t *v) {
  if (dim_is_const(d)) { *v = d.k; return true; }
  Lookup l = {.e = e};
  *v = dim_eval(d, symbol_value, &l);
  return !l.unbound;
}

/* Makes d come out as `size` by binding its one unbound symbol, for d = a * symbol + b. Two evaluations give a
 * and b. Leaves everything as it is when there is no such symbol or no whole solution; the caller compares. */
static void solve_dim(Eval *e, Dim d, int64_t size) {
  int64_t v;
  if (eval_dim_known(e, d, &v)) return;
  Lookup at0 = {.e = e, .use_stand_in = true, .stand_in = 0}, at1 = at0;
  at1.stand_in = 1;
  int64_t b = dim_eval(d, symbol_value, &at0), a = dim_eval(d, symbol_value, &at1) - b;
  if (a == 0 || (size - b) % a) return;
  eval_bind_symbol(e, at0.unbound, (size - b) / a);
  if (!eval_dim_known(e, d, &v) || v != size) e->bound.len--;   // not linear, or several symbols
}

/* The symbol of a dim that is nothing else, or NULL. */
static const char *bare_symbol(Dim d) {
  if (dim_is_const(d) || d.k) return NULL;
  const Symbol *s = symbol_find(dim_text(d));
  return s ? s->name : NULL;
}

/* Binds the symbols of a type from a tensor's dims. `anew`: bare symbols take the tensor's size even when bound. */
static void bind_type(Eval *e, const Type *type, const Tensor *t, bool anew) {
  if (type->rank != t->rank) return;
  for (int k = 0; k < t->rank; k++) {
    const char *s = bare_symbol(type->dims[k]);
    if (s && anew) eval_bind_symbol(e, s, t->dims[k]);
  }
  for (int k = 0; k < t->rank; k++) solve_dim(e, type->dims[k], t->dims[k]);
}

const char *tensor_type_text(const Tensor *t) {
  Dim dims[MAX_RANK] = {{0}};
  for (int k = 0; k < t->rank; k++) dims[k] = DIM(t->dims[k]);
  Type type = type_of(t->dtype, t->rank, dims);
  return type_text(&type);
}

static bool type_admits(Eval *e, const Type *type, const Tensor *t) {
  if (type->dtype != t->dtype || type->rank != t->rank) return false;
  for (int k = 0; k < t->rank; k++) {
    int64_t v;
    if (!eval_dim_known(e, type->dims[k], &v) || v != t->dims[k]) return false;
  }
  return true;
}

bool eval_bind_input(Eval *e, int k, const Tensor *t) {
  if (k < 0 || k >= e->m->main->inputs.len)
    return eval_fail(e, NULL, "there is no input %d; the model has %d", k, e->m->main->inputs.len);
  ValueId v = e->m->main->inputs.at[k];
  const Value *input = value_of(e->m, v);
  int known = e->bound.len;
  bind_type(e, &input->type, t, false);
  for (int s = known; s < e->bound.len; s++) e->bound.at[s].given = true;
  if (!type_admits(e, &input->type, t)) {
    Text bound = {0};
    for (int i = 0; i < e->bound.len; i++)
      text_printf(&bound, "%s%s = %lld", i ? ", " : "; ", e->bound.at[i].symbol, (long long)e->bound.at[i].value);
    eval_fail(e, NULL, "input '%s' is %s, the model takes %s%s", input->name, tensor_type_text(t),
              type_text(&input->type), bound.len ? bound.at : "");
    text_free(&bound);
    return false;
  }
  for (int s = 0; s < e->bound.len; s++) {
    const Symbol *sym = symbol_find(e->bound.at[s].symbol);
    int64_t value = e->bound.at[s].value;
    if (sym && (value < sym->lo || value > sym->hi))
      return eval_fail(e, NULL, "input '%s' makes %s = %lld, but it was declared to be in %lld..%lld",
                       input->name, sym->name, (long long)value, (long long)sym->lo, (long long)sym->hi);
  }
  eval_set_value(e, v, t);
  return true;
}

/* ---- nodes ---- */

/* Allocates what the inferred types allow; other outputs stay NULL for the op. */
static void allocate_outputs(Eval *e, const Node *n, Tensor **out) {
  for (int k = 0; k < n->nout; k++) {
    out[k] = NULL;
    if (!n->out[k]) continue;
    const Type *type = &value_of(e->m, n->out[k])->type;
    int64_t dims[MAX_RANK];
    bool known = type->kind == KIND_TENSOR && type->dtype != DT_NONE && type->rank >= 0;
    for (int d = 0; known && d < type->rank; d++) known = eval_dim_known(e, type->dims[d], &dims[d]);
    if (known) out[k] = tensor_new(&e->arena, type->dtype, type->rank, dims);
  }
}

/* Ops that do not find sizes themselves need their outputs: what is missing has a size that no input fixed. */
static bool outputs_sized(Eval *e, const Node *n, Tensor *const *out) {
  OpHow how = op_is_scalar(n->op) ? HOW_SCALAR : op_info[n->op].how;
  for (int k = 0; k < n->nout && how != HOW_CALL && how != HOW_CONTROL; k++) {
    if (!n->out[k] || out[k]) continue;
    return eval_fail(e, n, "the size of output %d is not known: %s", k, type_text(&value_of(e->m, n->out[k])->type));
  }
  return true;
}

Tensor *eval_output(Eval *e, const Node *n, Tensor **out, int k, const int64_t *dims) {
  const Type *type = &value_of(e->m, n->out[k])->type;
  return out[k] = tensor_new(&e->arena, type->dtype, type->rank, dims);
}

static bool check_output(Eval *e, const Node *n, int k, const Tensor *t) {
  const Type *type = &value_of(e->m, n->out[k])->type;
  OpHow how = op_is_scalar(n->op) ? HOW_SCALAR : op_info[n->op].how;
  bind_type(e, type, t, how == HOW_CALL || how == HOW_CONTROL);
  if (type_admits(e, type, t)) return true;
  return eval_fail(e, n, "output %d came out as %s, inferred was %s", k, tensor_type_text(t), type_text(type));
}

bool eval_node(Eval *e, NodeId id) {
  const Node node = *node_of(e->m, id), *n = &node;             // a copy: regions may make the module grow
  const OpInfo *info = &op_info[n->op];
  Arena args = {0};
  const Tensor **in = NEW_N(&args, const Tensor *, n->nin + 1);
  Tensor **out = NEW_N(&args, Tensor *, n->nout + 1);
  bool ok = true;
  for (int k = 0; k < n->nin && ok; k++)
    if (n->in[k] && !(in[k] = eval_value(e, n->in[k])))
      ok = eval_fail(e, n, "input %d ('%s') has no value", k, value_of(e->m, n->in[k])->name);
  if (ok) {
    allocate_outputs(e, n, out);
    if (!outputs_sized(e, n, out)) ok = false;
    else if (op_is_scalar(n->op)) ok = eval_scalar_node(e, n, in, out);
    else if (info->eval) ok = info->eval(e, n, in, out);
    else ok = eval_fail(e, n, "%s cannot be evaluated; decompose it first", info->text);
  }
  for (int k = 0; k < n->nout && ok; k++) {
    if (!n->out[k]) continue;
    if (!out[k]) ok = eval_fail(e, n, "output %d was not computed", k);
    else if ((ok = check_output(e, n, k, out[k]))) eval_set_value(e, n->out[k], out[k]);
  }
  arena_free(&args);
  return ok;
}

bool eval_graph(Eval *e, Graph *g) {
  for (int i = 0; i < g->nodes.len; i++) {
    NodeId n = g->nodes.at[i];
    if (!node_of(e->m, n)->dead && !eval_node(e, n)) return false;
  }
  return true;
}

void eval_bind_region_input(Eval *e, ValueId v, const Tensor *t) {
  bind_type(e, &value_of(e->m, v)->type, t, true);
  eval_set_value(e, v, t);
}
