/* What importers are written with: an ONNX node's attributes and inputs, and a builder of canonical nodes.
 *
 * Errors: imp_fail reports and marks the importer failed; from then on every builder gives 0, so an importer can
 * be written straight through and its result checked once by the loader.
 * Shape arithmetic is settled while building (imp_settle in import_fold.c): a node whose inputs are small
 * constants becomes a constant, and one whose elements are known as dims becomes a `dims` node, so that a
 * Shape -> Gather -> Concat -> Reshape chain has vanished by the time the Reshape is imported. */
#include "frontend/import.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include "base/intern.h"
#include "ir/binds.h"
#include "frontend/import_fold.h"
#include "frontend/onnx_import.h"
#include "frontend/onnx_model.h"
#include "ir/build.h"

static const char *where_of(const Import *x) {
  char buf[400];
  const Onnx__Node *p = x->node->proto;
  const char *name = p->name && *p->name ? p->name : p->n_output ? p->output[0] : "";
  if (x->domain && *x->domain)
    snprintf(buf, sizeof buf, "node '%s' (%s.%s, opset %d)", name, x->domain, x->op, x->opset);
  else
    snprintf(buf, sizeof buf, "node '%s' (%s, opset %d)", name, x->op, x->opset);
  return intern(buf);
}

bool imp_fail(Import *x, const char *kind, const char *fmt, ...) {
  char buf[1000];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  x->failed = true;
  diag_error(x->m->diags, kind, where_of(x), "%s", buf);
  return false;
}

/* ---- attributes ---- */
static const Onnx__Attribute *find(Import *x, const char *name) {
  for (int k = 0; k < x->node->nattr; k++)
    if (!strcmp(x->node->attr[k]->name, name)) {
      x->node->read[k] = true;
      return x->node->attr[k];
    }
  return NULL;
}

/* The attribute if it is there and of the wanted kind. Files of the first IR versions do not say the kind. */
static const Onnx__Attribute *find_kind(Import *x, const char *name, AttrType kind, const char *kind_text) {
  const Onnx__Attribute *a = find(x, name);
  if (!a || a->type == (int)kind || a->type == ONNX_UNDEFINED) return a;
  imp_fail(x, "type", "attribute '%s' should be %s", name, kind_text);
  return NULL;
}

bool imp_has(Import *x, const char *name) { return find(x, name) != NULL; }

int64_t imp_int(Import *x, const char *name, int64_t dflt) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_INT, "an integer");
  return a ? a->i : dflt;
}

double imp_float(Import *x, const char *name, double dflt) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_FLOAT, "a number");
  return a ? (double)a->f : dflt;
}

const char *imp_str(Import *x, const char *name, const char *dflt) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_STRING, "a string");
  return a ? intern(onnx_text(&x->m->perm, a->s)) : dflt;
}

int imp_ints(Import *x, const char *name, const int64_t **v) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_INTS, "a list of integers");
  *v = a ? a->ints : NULL;
  return a ? (int)a->n_ints : 0;
}

int imp_floats(Import *x, const char *name, const double **v) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_FLOATS, "a list of numbers");
  *v = NULL;
  if (!a || !a->n_floats) return 0;
  double *copy = NEW_N(&x->m->perm, double, a->n_floats);
  for (size_t k = 0; k < a->n_floats; k++) copy[k] = (double)a->floats[k];
  *v = copy;
  return (int)a->n_floats;
}

int imp_strs(Import *x, const char *name, const char *const **v) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_STRINGS, "a list of strings");
  *v = NULL;
  if (!a || !a->n_strings) return 0;
  const char **copy = NEW_N(&x->m->perm, const char *, a->n_strings);
  for (size_t k = 0; k < a->n_strings; k++) copy[k] = onnx_text(&x->m->perm, a->strings[k]);
  *v = copy;
  return (int)a->n_strings;
}

const Tensor *imp_tensor(Import *x, const char *name) {
  const Onnx__Attribute *a = find(x, name);
  if (!a) return NULL;
  OnnxSource s = onnx_source(x);
  const Tensor *t = NULL;
  if (a->t) t = onnx_tensor(&s, a->t, where_of(x));
  else if (a->sparse_tensor) t = onnx_sparse_tensor(&s, a->sparse_tensor, where_of(x));
  else imp_fail(x, "type", "attribute '%s' should be a tensor", name);
  if (!t) x->failed = true;
  return t;
}

Graph *imp_graph(Import *x, const char *name) { return imp_graph_typed(x, name, NULL, 0); }

Graph *imp_graph_typed(Import *x, const char *name, const Type *in, int n) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_GRAPH, "a graph");
  if (!a || !a->g) {
    if (!x->failed) imp_fail(x, "parse", "lacks its graph '%s'", name);
    return NULL;
  }
  Graph *g = onnx_import_region(x, a->g, in, n);
  if (!g) x->failed = true;
  return g;
}

bool imp_inline_with(Import *x, const char *name, const ValueId *in, int nin, ValueId *out, int nout) {
  const Onnx__Attribute *a = find_kind(x, name, ONNX_GRAPH, "a graph");
  if (!a || !a->g) return !x->failed && imp_fail(x, "parse", "lacks its graph '%s'", name);
  return onnx_inline_region(x, a->g, in, nin, out, nout);
}

bool imp_inline(Import *x, const char *name) { return imp_inline_with(x, name, NULL, 0, x->out, x->nout); }

/* ---- inputs ---- */
const Type *imp_type(Import *x, int k) {
  static const Type nothing = {.rank = -1};
  return imp_present(x, k) ? &value_of(x->m, x->in[k])->type : &nothing;
}

int imp_rank(Import *x, int k) { return imp_type(x, k)->rank; }
DType imp_dtype(Import *x, int k) { return imp_type(x, k)->dtype; }

int imp_axis(Import *x, int64_t axis, int rank) {
  if (axis >= -(int64_t)rank && axis < rank) return (int)(axis < 0 ? axis + rank : axis);
  imp_fail(x, "shape", "axis %lld is outside rank %d", (long long)axis, rank);
  return -1;
}

const Tensor *imp_constant(Import *x, int k) { return imp_present(x, k) ? value_of(x->m, x->in[k])->constant : NULL; }

static bool only_at_run_time(Import *x, int k) {
  const Value *v = value_of(x->m, x->in[k]);
  imp_fail(x, "unsupported", "input %d ('%s') exists only at run time, but decides shapes", k, v->name);
  Text t = {0};
  binds_put(&t, x->m, &x->in[k], 1);
  if (t.len) diag_note(x->m->diags, "hint: fix it when compiling, with%s", t.at);
  text_free(&t);
  return false;
}

bool imp_dims(Import *x, int k, const Dim **v, int *n) {
  *v = NULL, *n = 0;
  if (x->failed) return false;
  if (!imp_present(x, k)) return imp_fail(x, "shape", "lacks input %d", k);
  const Value *value = value_of(x->m, x->in[k]);
  const Tensor *t = value->constant;
  if (value->type.rank > 1 || !dtype_is_int(value->type.dtype))
    return imp_fail(x, "type", "input %d ('%s') should be a list of integers, is %s", k, value->name,
                    type_text(&value->type));
  if (!t) {
    if (!value->content) return only_at_run_time(x, k);
    *v = value->content;
    *n = value->type.rank ? (int)value->type.dims[0].k : 1;
    return true;
  }
  *n = (int)tensor_count(t);
  Dim *d = NEW_N(&x->m->perm, Dim, *n + 1);
  for (int i = 0; i < *n; i++) d[i] = DIM(tensor_get_int(t, i));
  *v = d;
  return true;
}

bool imp_const_ints(Import *x, int k, const int64_t **v, int *n) {
  const Dim *d;
  if (!imp_dims(x, k, &d, n)) return false;
  int64_t *out = NEW_N(&x->m->perm, int64_t, *n + 1);
  for (int i = 0; i < *n; i++) {
    if (!dim_is_const(d[i]))
      return imp_fail(x, "unsupported", "input %d depends on the free dim %s; it must be a number here", k,
                      dim_text(d[i]));
    out[i] = d[i].k;
  }
  *v = out;
  return true;
}

bool imp_const_float(Import *x, int k, double *v) {
  if (x->failed) return false;
  if (!imp_present(x, k)) return imp_fail(x, "shape", "lacks input %d", k);
  const Tensor *t = imp_constant(x, k);
  if (!t)
    return imp_fail(x, "unsupported", "input %d ('%s') exists only at run time; it must be a constant here", k,
                    value_of(x->m, x->in[k])->name);
  if (tensor_count(t) != 1) return imp_fail(x, "shape", "input %d should be one number", k);
  *v = tensor_get(t, 0);
  return true;
}

/* ---- building ---- */
bool imp_op_multi(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr, ValueId *out, int nout) {
  memset(out, 0, sizeof *out * (size_t)nout);
  if (x->failed) return false;
  int errors = x->m->diags->errors;
  NodeId n = graph_add_node(x->g, op, in, nin, nout, attr, nattr);
  if (x->m->diags->errors > errors) {
    x->failed = true;
    return false;
  }
  for (int k = 0; k < nout; k++) out[k] = node_of(x->m, n)->out[k];
  imp_settle(x, n, out);
  return true;
}

ValueId imp_op(Import *x, Op op, const ValueId *in, int nin, const Attr *attr, int nattr) {
  ValueId out;
  imp_op_multi(x, op, in, nin, attr, nattr, &out, 1);
  return out;
}

ValueId imp_op1(Import *x, Op op, ValueId a) { return a ? imp_op(x, op, &a, 1, NULL, 0) : 0; }
ValueId imp_op2(Import *x, Op op, ValueId a, ValueId b) {
  return a && b ? imp_op(x, op, (ValueId[]){a, b}, 2, NULL, 0) : 0;
}

ValueId imp_op3(Import *x, Op op, ValueId a, ValueId b, ValueId c) {
  return a && b && c ? imp_op(x, op, (ValueId[]){a, b, c}, 3, NULL, 0) : 0;
}

ValueId imp_scalar(Import *x, DType t, double v) { return x->failed ? 0 : graph_scalar(x->m, t, v); }

ValueId imp_constant_ints(Import *x, DType t, const int64_t *v, int n) {
  if (x->failed) return 0;
  Tensor *c = tensor_new(&x->m->perm, t, 1, (int64_t[]){n});
  for (int k = 0; k < n; k++) tensor_set_int(c, k, v[k]);
  return graph_add_constant(x->m, NULL, c);
}

ValueId imp_dims_value(Import *x, const Dim *v, int n) {
  Attr attr[] = {attr_dims(x->m, "dims", v, n < 0 ? 1 : n), attr_int("rank", n >= 0)};
  return imp_op(x, OP_DIMS, NULL, 0, attr, 2);
}

/* ---- verbs of ir/build.h ---- */

ImportMark imp_mark(const Import *x) { return (ImportMark){x->m->nodes.len, x->m->diags->errors}; }

ValueId imp_made(Import *x, ImportMark since, ValueId v) {
  if (x->m->diags->errors > since.errors) {
    x->failed = true;
    return 0;
  }
  NodeId n = v ? value_of(x->m, v)->def : 0;
  if (n && (int)n >= since.nodes) imp_settle(x, n, &v);
  return v;
}

ValueId imp_cast(Import *x, ValueId v, DType to) {
  ImportMark since = imp_mark(x);
  return x->failed ? 0 : imp_made(x, since, build_cast(x->g, v, to));
}

ValueId imp_reshape(Import *x, ValueId v, const Dim *shape, int rank) {
  ImportMark since = imp_mark(x);
  return x->failed ? v : imp_made(x, since, build_reshape(x->g, v, shape, rank));
}

ValueId imp_expand(Import *x, ValueId v, const Dim *shape, int rank) {
  ImportMark since = imp_mark(x);
  return x->failed ? v : imp_made(x, since, build_expand(x->g, v, shape, rank));
}

ValueId imp_transpose(Import *x, ValueId v, const int *perm, int rank) {
  ImportMark since = imp_mark(x);
  return x->failed ? 0 : imp_made(x, since, build_transpose(x->g, v, perm, rank));
}

ValueId imp_slice1(Import *x, ValueId v, int axis, Dim start, Dim size) {
  ImportMark since = imp_mark(x);
  return x->failed ? 0 : imp_made(x, since, build_slice(x->g, v, axis, start, size));
}

static int by_value(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

ValueId imp_reduce(Import *x, Op op, ValueId v, const int *axes, int n, bool keepdims) {
  if (!v || x->failed) return 0;
  ImportMark since = imp_mark(x);
  int sorted[MAX_RANK];
  for (int k = 0; k < n; k++) sorted[k] = axes[k];
  qsort(sorted, (size_t)n, sizeof *sorted, by_value);
  return imp_made(x, since, build_reduce(x->g, op, v, sorted, n, keepdims));
}

ValueId imp_unsqueeze(Import *x, ValueId v, const int *axes, int n) {
  if (!v || x->failed) return 0;
  Type t = value_of(x->m, v)->type;
  if (t.rank + n > MAX_RANK) {
    imp_fail(x, "shape", "the result would have %d dimensions; lathe's limit is %d", t.rank + n, MAX_RANK);
    return 0;
  }
  Dim shape[MAX_RANK];
  bool is_new[MAX_RANK] = {false};
  for (int k = 0; k < n; k++) is_new[axes[k]] = true;
  for (int k = 0, from = 0; k < t.rank + n; k++) shape[k] = is_new[k] ? DIM(1) : t.dims[from++];
  return imp_reshape(x, v, shape, t.rank + n);
}

bool imp_wants(Import *x, int k) { return k < x->nout && *x->node->proto->output[k]; }

void imp_set(Import *x, int k, ValueId v) {
  if (k < x->nout) x->out[k] = v;
}
