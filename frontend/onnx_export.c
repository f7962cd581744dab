/* The graph IR written as an ONNX file: the walk over nodes and regions, inputs and outputs, the model around them.
 *
 * Values keep their names. Constants become initializers of the main graph, which regions see, too. An output that no
 * node of its own graph makes (an input, a constant, the same value twice) gets an Identity, as ONNX wants. Packed in
 * memory and written whole or not at all. */
#include "frontend/onnx_export.h"
#include "base/intern.h"
#include "base/text.h"
#include "frontend/export.h"

static const struct { ExportFn function; const char *as, *why; } exporters[OP_COUNT] = {
#define EXPORT(op, f) [OP_##op] = {.function = f},
#define EXPORT_AS(op, onnx) [OP_##op] = {.as = #onnx},
#define NO_EXPORT(op, reason) [OP_##op] = {.why = reason},
#include "frontend/exporters.def"
#undef EXPORT
#undef EXPORT_AS
#undef NO_EXPORT
};

const char *onnx_export_refusal(Op op) { return exporters[op].why; }
bool onnx_exports(Op op) { return exporters[op].function || exporters[op].as; }

/* ---- inputs and outputs ---- */

/* Element types that came after the opset we write. */
static bool type_exists(Export *x, ValueId v) {
  DType t = value_of(x->m, v)->type.dtype;
  if (t != DT_F4E2M1 && t != DT_F8E8M0 && t != DT_I2 && t != DT_U2) return true;
  return exp_fail(x, "'%s' is of type %s, which opset %d does not have", value_of(x->m, v)->name, dtype_info[t].text,
                  EXPORT_OPSET);
}

Onnx__ValueInfo *exp_value_info(Export *x, ValueId v, const char *name) {
  const Type *t = &value_of(x->m, v)->type;
  Onnx__ValueInfo *info = NEW(x->a, Onnx__ValueInfo);
  onnx__value_info__init(info);
  info->name = (char *)(uintptr_t)name;
  info->type = NEW(x->a, Onnx__Type);
  onnx__type__init(info->type);
  Onnx__TensorType *tensor = info->type->tensor_type = NEW(x->a, Onnx__TensorType);
  onnx__tensor_type__init(tensor);
  tensor->has_elem_type = 1;
  tensor->elem_type = dtype_info[t->dtype].onnx;
  tensor->shape = NEW(x->a, Onnx__Shape);
  onnx__shape__init(tensor->shape);
  tensor->shape->n_dim = (size_t)t->rank;
  tensor->shape->dim = NEW_N(x->a, Onnx__Dimension *, t->rank + 1);
  for (int k = 0; k < t->rank; k++) {
    Onnx__Dimension *d = tensor->shape->dim[k] = NEW(x->a, Onnx__Dimension);
    onnx__dimension__init(d);
    if (dim_is_const(t->dims[k])) d->has_dim_value = 1, d->dim_value = t->dims[k].k;
    else if (!x->scope->outer) d->dim_param = (char *)(uintptr_t)dim_text(t->dims[k]);   // in a region sizes may change
  }
  return info;
}

static bool made_here(Export *x, const Graph *g, int k) {
  const Value *v = value_of(x->m, g->outputs.at[k]);
  bool here = !v->constant && v->def && node_of(x->m, v->def)->graph == g;
  for (int i = 0; i < k; i++) here &= g->outputs.at[i] != g->outputs.at[k];
  return here;
}

static void outputs_add(Export *x, Graph *g, Onnx__Graph *to) {
  to->n_output = (size_t)g->outputs.len;
  to->output = NEW_N(x->a, Onnx__ValueInfo *, g->outputs.len + 1);
  for (int k = 0; k < g->outputs.len; k++) {
    ValueId v = g->outputs.at[k];
    const char *name = x->stem = exp_value(x, v);
    if (!made_here(x, g, k)) name = EXP(x, "Identity", name);
    to->output[k] = exp_value_info(x, v, name);
  }
}

/* ---- graphs ---- */

static void node_export(Export *x, NodeId id) {
  const Node *n = node_of(x->m, id);
  x->n = n;
  x->id = id;
  x->stem = value_of(x->m, n->out[0])->name;
  x->failed = false;
  for (int k = 0; k < n->nin; k++) if (n->in[k] && !type_exists(x, n->in[k])) return;
  for (int k = 0; k < n->nout; k++) if (n->out[k] && !type_exists(x, n->out[k])) return;
  if (exporters[n->op].why) exp_fail(x, "%s cannot be exported: %s", op_info[n->op].text, exporters[n->op].why);
  else if (exporters[n->op].as) exp_direct(x, exporters[n->op].as);
  else exporters[n->op].function(x);
  for (int k = 0; k < n->nout; k++) if (n->out[k]) *vec_push(x->a, &x->scope->values) = n->out[k];
}

/* Nodes, outputs and regions of g; its inputs are the caller's. */
static Onnx__Graph *graph_export(Export *x, Graph *g, const char *name) {
  ExportScope scope = {.outer = x->scope};
  Onnx__Graph *to = NEW(x->a, Onnx__Graph);
  onnx__graph__init(to);
  to->name = (char *)(uintptr_t)name;
  x->scope = &scope;
  to->n_input = (size_t)g->inputs.len;
  to->input = NEW_N(x->a, Onnx__ValueInfo *, g->inputs.len + 1);
  for (int k = 0; k < g->inputs.len; k++) {
    to->input[k] = exp_value_info(x, g->inputs.at[k], value_of(x->m, g->inputs.at[k])->name);
    *vec_push(x->a, &scope.values) = g->inputs.at[k];
  }
  bool failed = false;
  for (int k = 0; k < g->nodes.len; k++) {
    node_export(x, g->nodes.at[k]);
    failed |= x->failed;
  }
  x->n = NULL;
  outputs_add(x, g, to);
  to->n_node = (size_t)scope.nodes.len;
  to->node = scope.nodes.at;
  x->scope = scope.outer;
  x->failed = failed;
  return to;
}

Onnx__Graph *exp_region(Export *x, Graph *g, const char *name) {
  NodeId id = x->id;
  Onnx__Graph *to = graph_export(x, g, name);
  x->id = id;
  x->n = node_of(x->m, id);
  return to;
}

/* ---- the model ---- */

static Onnx__Pair *pair(Arena *a, const char *key, const char *value) {
  Onnx__Pair *p = NEW(a, Onnx__Pair);
  onnx__pair__init(p);
  p->key = (char *)(uintptr_t)key;
  p->value = (char *)(uintptr_t)value;
  return p;
}

static Onnx__Model *model_around(Arena *a, Onnx__Graph *g, const char *origin) {
  Onnx__Model *model = NEW(a, Onnx__Model);
  Onnx__Opset *opset = NEW(a, Onnx__Opset);
  onnx__model__init(model);
  onnx__opset__init(opset);
  opset->domain = (char *)(uintptr_t)"";
  opset->has_version = 1;
  opset->version = EXPORT_OPSET;
  model->has_ir_version = 1;
  model->ir_version = EXPORT_IR_VERSION;
  model->producer_name = (char *)(uintptr_t)"lathe";
  model->graph = g;
  model->n_opset_import = 1;
  model->opset_import = NEW_N(a, Onnx__Opset *, 1);
  model->opset_import[0] = opset;
  model->n_metadata_props = 1;
  model->metadata_props = NEW_N(a, Onnx__Pair *, 1);
  model->metadata_props[0] = pair(a, "lathe.source", origin);
  return model;
}

bool onnx_export(Module *m, const char *origin, Arena *a, void **bytes, size_t *size, Diags *d) {
  Export x = {.m = m, .a = a, .d = d, .written = NEW_N(a, bool, m->values.len)};
  int errors = d->errors;
  if (m->state.len) {
    diag_error(d, "unsupported", NULL, "a training step is not exported; export the network with trained weights");
    return false;
  }
  for (int k = 0; k < m->main->inputs.len; k++) type_exists(&x, m->main->inputs.at[k]);
  Onnx__Graph *g = graph_export(&x, m->main, m->name && *m->name ? m->name : "main");
  if (d->errors != errors) return false;
  g->n_initializer = (size_t)x.initializers.len;
  g->initializer = x.initializers.at;
  Onnx__Model *model = model_around(a, g, origin);
  *size = onnx__model__get_packed_size(model);
  if (*size > INT32_MAX) {
    diag_error(d, "unsupported", NULL,
               "the model takes %zu MB; a file of ONNX ends at 2048, and weights beside it are not supported",
               *size >> 20);
    return false;
  }
  *bytes = arena_alloc(a, *size);
  onnx__model__pack(model, *bytes);
  return true;
}

bool onnx_export_file(Module *m, const char *origin, const char *path, Diags *d) {
  Arena a = {0};
  void *bytes;
  size_t size;
  char why[500];
  bool ok = onnx_export(m, origin, &a, &bytes, &size, d);
  if (ok && !file_save(bytes, size, path, why, sizeof why)) {
    diag_error(d, "io", NULL, "%s", why);
    ok = false;
  }
  arena_free(&a);
  return ok;
}
