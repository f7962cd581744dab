/* What exporters build with: nodes, attributes, names, constants, and sizes as tensors.
 *
 * A size that is known only when the model runs is read off a value that has it: Shape, Gather, and integer
 * arithmetic around them, once per graph. Small constants are shared by their contents. */
#include "frontend/export.h"
#include "base/intern.h"
#include <stdarg.h>

/* ---- messages ---- */

bool exp_fail(Export *x, const char *fmt, ...) {
  char text[600];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (!x->failed) diag_error(x->d, "unsupported", x->n ? node_where(x->m, x->n) : NULL, "%s", text);
  x->failed = true;
  return false;
}

/* ---- the node at work ---- */

bool exp_has(const Export *x, int k) { return k < x->n->nin && x->n->in[k]; }
const Type *exp_type(const Export *x, int k) { return &value_of(x->m, x->n->in[k])->type; }
const Type *exp_out_type(const Export *x, int k) { return &value_of(x->m, x->n->out[k])->type; }
bool exp_wants(const Export *x, int k) { return k < x->n->nout && x->n->out[k]; }
const char *exp_in(Export *x, int k) { return exp_has(x, k) ? exp_value(x, x->n->in[k]) : ""; }

static void add_initializer(Export *x, const char *name, const Tensor *t) {
  Onnx__Tensor *p = NEW(x->a, Onnx__Tensor);
  onnx_tensor_message(x->a, name, t, p);
  *vec_push(x->a, &x->initializers) = p;
}

const char *exp_value(Export *x, ValueId v) {
  const Value *of = value_of(x->m, v);
  if (of->constant && !x->written[v]) {
    add_initializer(x, of->name, of->constant);
    x->written[v] = true;
  }
  return of->name;
}

/* ---- names ---- */

static const char *unique(Export *x, NameMap *used, const char *base) {
  const char *name = intern(base);
  for (int k = 2; (used == &x->edges && graph_find_value(x->m, name)) || !names_add(x->a, used, name, 0); k++)
    name = intern_printf("%.400s_%d", base, k);
  return name;
}

static const char *node_name(Export *x, const char *op) {
  const char *source = x->n ? x->n->source.node : NULL;
  return unique(x, &x->nodes, source && *source ? source : op);
}

static const char *edge_name(Export *x) {
  return unique(x, &x->edges, intern_printf("%.400s_%s", x->stem, x->last->op_type));
}

/* ---- nodes ---- */

enum { MOST_ATTRIBUTES = 16 };

static char *mutable(const char *s) { return (char *)(uintptr_t)s; }   // the messages are only read

static Onnx__Node *new_node(Export *x, const char *op, const char *const *in, int nin, int nout) {
  Onnx__Node *n = NEW(x->a, Onnx__Node);
  onnx__node__init(n);
  while (nin && !*in[nin - 1]) nin--;                       // absent inputs at the end are left out
  n->name = mutable(node_name(x, op));
  n->op_type = mutable(intern(op));
  n->n_input = (size_t)nin;
  n->input = NEW_N(x->a, char *, nin + 1);
  for (int k = 0; k < nin; k++) n->input[k] = mutable(in[k]);
  n->output = NEW_N(x->a, char *, nout + 8);
  n->attribute = NEW_N(x->a, Onnx__Attribute *, MOST_ATTRIBUTES);
  *vec_push(x->a, &x->scope->nodes) = n;
  return x->last = n;
}

const char *exp_output(Export *x) {
  const char *name = edge_name(x);
  x->last->output[x->last->n_output++] = mutable(name);
  return name;
}

const char *exp_node(Export *x, const char *op, const char *const *in, int nin) {
  new_node(x, op, in, nin, 1);
  return exp_output(x);
}

bool exp_direct_from(Export *x, const char *op, const char *const *in, int nin) {
  int nout = x->n->nout;
  while (nout > 1 && !x->n->out[nout - 1]) nout--;
  Onnx__Node *n = new_node(x, op, in, nin, nout);
  for (int k = 0; k < nout; k++) n->output[k] = mutable(x->n->out[k] ? value_of(x->m, x->n->out[k])->name : "");
  n->n_output = (size_t)nout;
  return !x->failed;
}

bool exp_direct(Export *x, const char *op) {
  const char **in = NEW_N(x->a, const char *, x->n->nin + 1);
  for (int k = 0; k < x->n->nin; k++) in[k] = exp_in(x, k);
  return exp_direct_from(x, op, in, x->n->nin);
}

/* The last node gives the value itself where it can. */
bool exp_give(Export *x, int k, const char *name) {
  if (x->failed || !name) return false;
  const char *is = value_of(x->m, x->n->out[k])->name;
  for (size_t i = 0; i < x->last->n_output; i++)
    if (x->last->output[i] == name) { x->last->output[i] = mutable(is); return true; }
  EXP(x, "Identity", name);
  x->last->output[0] = mutable(is);
  return true;
}

/* ---- attributes ---- */

static Onnx__Attribute *new_attribute(Export *x, Onnx__Node *n, const char *name, AttrType type) {
  Onnx__Attribute *a = NEW(x->a, Onnx__Attribute);
  onnx__attribute__init(a);
  if (n->n_attribute == MOST_ATTRIBUTES) BUG("more than %d attributes", MOST_ATTRIBUTES);
  n->attribute[n->n_attribute++] = a;
  a->name = mutable(name);
  a->has_type = 1;
  a->type = type;
  return a;
}

void exp_int(Export *x, const char *name, int64_t v) {
  Onnx__Attribute *a = new_attribute(x, x->last, name, ONNX_INT);
  a->has_i = 1;
  a->i = v;
}

void exp_float(Export *x, const char *name, double v) {
  Onnx__Attribute *a = new_attribute(x, x->last, name, ONNX_FLOAT);
  a->has_f = 1;
  a->f = (float)v;
}

static ProtobufCBinaryData bytes_of(const char *s) { return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s}; }

void exp_str(Export *x, const char *name, const char *v) {
  Onnx__Attribute *a = new_attribute(x, x->last, name, ONNX_STRING);
  a->has_s = 1;
  a->s = bytes_of(v);
}

void exp_list(Export *x, const char *name, const int64_t *v, int n) {
  Onnx__Attribute *a = new_attribute(x, x->last, name, ONNX_INTS);
  a->n_ints = (size_t)n;
  a->ints = arena_dup(x->a, v, (size_t)n * sizeof *v);
}

void exp_float_list(Export *x, const char *name, const double *v, int n) {
  Onnx__Attribute *a = new_attribute(x, x->last, name, ONNX_FLOATS);
  a->n_floats = (size_t)n;
  a->floats = NEW_N(x->a, float, n + 1);
  for (int k = 0; k < n; k++) a->floats[k] = (float)v[k];
}

void exp_str_list(Export *x, const char *name, const char *const *v, int n) {
  Onnx__Attribute *a = new_attribute(x, x->last, name, ONNX_STRINGS);
  a->n_strings = (size_t)n;
  a->strings = NEW_N(x->a, ProtobufCBinaryData, n + 1);
  for (int k = 0; k < n; k++) a->strings[k] = bytes_of(v[k]);
}

void exp_graph(Export *x, Onnx__Node *n, const char *name, Onnx__Graph *g) {
  new_attribute(x, n, name, ONNX_GRAPH)->g = g;
}

bool exp_copy_list(Export *x, const char *from, const char *to) {
  const Attr *a = node_dims(x->n, from);
  if (!a) return true;
  int64_t *v = NEW_N(x->a, int64_t, a->n + 1);                 // of a scan there are as many as it has inputs
  for (int k = 0; k < a->n; k++) {
    if (!dim_is_const(a->dims[k]))
      return exp_fail(x, "its %s are %s, which ONNX takes only as numbers; fix the size with --dim", from,
                      dim_text(a->dims[k]));
    v[k] = a->dims[k].k;
  }
  exp_list(x, to, v, a->n);
  return true;
}

/* ---- constants ---- */

/* `key`: the contents as text, or NULL where sharing is not worth it. */
static const char *constant(Export *x, const Tensor *t, const char *key, const char *name) {
  int64_t at;
  key = key ? intern(key) : NULL;
  if (key && names_find(&x->constants, key, &at)) return x->constant_names.at[at];
  name = unique(x, &x->edges, name);
  if (key) names_add(x->a, &x->constants, key, x->constant_names.len);
  *vec_push(x->a, &x->constant_names) = name;
  add_initializer(x, name, t);
  return name;
}

const char *exp_constant(Export *x, const Tensor *t) { return constant(x, t, NULL, "constant"); }

const char *exp_scalar(Export *x, DType t, double v) {
  const char *key = intern_printf("%s %.17g", dtype_info[t].text, v);
  return constant(x, tensor_scalar(x->a, t, v), key, intern_printf("%s_%.9g", dtype_info[t].text, v));
}

const char *exp_ints(Export *x, const int64_t *v, int n) {
  Tensor *t = tensor_new(x->a, DT_I64, 1, (int64_t[]){n});
  Text key = {0};
  text_put(&key, "ints");
  for (int k = 0; k < n; k++) {
    tensor_set_int(t, k, v[k]);
    text_printf(&key, "_%lld", (long long)v[k]);
  }
  const char *name = constant(x, t, key.at, key.at);
  text_free(&key);
  return name;
}

const char *exp_cast(Export *x, const char *v, DType from, DType to) {
  if (from == to || !*v) return v;
  const char *y = EXP(x, "Cast", v);
  exp_int(x, "to", dtype_info[to].onnx);
  return y;
}

/* ---- sizes ---- */

static const char *size_of_axis(Export *x, ValueId v, int axis) {
  const char *shape = EXP(x, "Shape", exp_value(x, v));
  exp_int(x, "start", axis);
  exp_int(x, "end", axis + 1);
  return shape;
}

/* Of a symbol: the size of some value that is there already; outermost first, so that inputs are preferred. */
static const char *symbol_size(Export *x, const ExportScope *s, Dim symbol) {
  const char *found = s->outer ? symbol_size(x, s->outer, symbol) : NULL;
  for (int k = 0; !found && k < s->values.len; k++) {
    const Type *t = &value_of(x->m, s->values.at[k])->type;
    for (int i = 0; i < t->rank && !found; i++)
      if (dim_eq(t->dims[i], symbol)) found = size_of_axis(x, s->values.at[k], i);
  }
  return found;
}

static const char *known_size(const ExportScope *s, Dim d) {
  for (; s; s = s->outer)
    for (int k = 0; k < s->dims.len; k++) if (dim_eq(s->dims.at[k].dim, d)) return s->dims.at[k].name;
  return NULL;
}

static void remember_size(Export *x, Dim d, const char *name) {
  vec_push(x->a, &x->scope->dims);
  x->scope->dims.at[x->scope->dims.len - 1].dim = d;
  x->scope->dims.at[x->scope->dims.len - 1].name = name;
}

/* Rounds down, as dims do; Div of ONNX cuts off, Mod has the sign of the divisor. */
static const char *floor_div(Export *x, const char *a, const char *b) {
  return EXP(x, "Div", EXP(x, "Sub", a, EXP(x, "Mod", a, b)), b);
}

static void *size_part(void *ctx, DimKind k, int64_t c, const char *symbol, void *a, void *b) {
  Export *x = ctx;
  if (x->failed) return NULL;
  switch (k) {
  case DIM_CONST: return mutable(exp_ints(x, &c, 1));
  case DIM_ADD: return mutable(EXP(x, "Add", a, b));
  case DIM_MUL: return mutable(EXP(x, "Mul", a, b));
  case DIM_FLOORDIV: return mutable(floor_div(x, a, b));
  case DIM_MOD: return mutable(EXP(x, "Mod", a, b));
  case DIM_MIN: return mutable(EXP(x, "Min", a, b));
  case DIM_MAX: return mutable(EXP(x, "Max", a, b));
  case DIM_SYMBOL: break;
  }
  const Symbol *s = symbol_find(symbol);
  Dim d = dim_symbol(symbol, s->lo, s->hi);
  const char *name = known_size(x->scope, d);
  if (name) return mutable(name);
  name = symbol_size(x, x->scope, d);
  if (!name)
    exp_fail(x, "the size %s is not that of any value before this node; fix it with --dim %s=N", symbol, symbol);
  else remember_size(x, d, name);
  return mutable(name);
}

const char *exp_size(Export *x, Dim d) {
  if (dim_is_const(d)) return exp_ints(x, &d.k, 1);
  const char *name = known_size(x->scope, d);
  if (name) return name;
  name = dim_fold(d, size_part, x);
  if (name) remember_size(x, d, name);
  return name ? name : "";
}

const char *exp_sizes(Export *x, const Dim *d, int n) {
  int64_t v[4 * MAX_RANK];
  const char *part[4 * MAX_RANK];
  bool known = n <= 4 * MAX_RANK;
  if (!known) { exp_fail(x, "has a list of %d sizes", n); return ""; }
  for (int k = 0; k < n; k++) known &= dim_is_const(d[k]), v[k] = d[k].k;
  if (known) return exp_ints(x, v, n);
  for (int k = 0; k < n; k++) part[k] = exp_size(x, d[k]);
  if (n == 1 || x->failed) return part[0];
  const char *all = exp_node(x, "Concat", part, n);
  exp_int(x, "axis", 0);
  return all;
}

/* As people write it: numbers, 0 for an axis that stays, one -1 for what is left. */
static bool reshape_numbers(const Type *from, const Dim *shape, int rank, int64_t *v) {
  int open = 0;
  for (int k = 0; k < rank; k++) {
    if (dim_is(shape[k], 0)) return false;
    v[k] = dim_is_const(shape[k]) ? shape[k].k : k < from->rank && dim_eq(shape[k], from->dims[k]) ? 0 : -1;
    open += v[k] == -1;
  }
  return open <= 1;
}

const char *exp_reshape(Export *x, const char *v, const Type *from, const Dim *shape, int rank) {
  int64_t to[MAX_RANK];
  if (reshape_numbers(from, shape, rank, to)) return EXP(x, "Reshape", v, exp_ints(x, to, rank));
  const char *y = EXP(x, "Reshape", v, exp_sizes(x, shape, rank));
  exp_int(x, "allowzero", 1);
  return y;
}
