/* Sequences and optionals exist only while a model is imported: as lists of values whose length is known. What
 * SequenceInsert and its relatives do is bookkeeping on these lists, and no node ever sees one.
 *
 * A list has a value id of its own (a value of kind sequence or optional that nothing computes), so it passes
 * through name tables, Identity and inlined branches like any other. At the borders lists are taken apart: an
 * output y that is a sequence becomes outputs y_0, y_1, …; an input likewise, with a length from the options;
 * the branches of an If must give lists of the same form, and its outputs are put together again. */
#include "frontend/onnx_lists.h"
#include <string.h>
#include "base/intern.h"

const List *list_find(const Loader *l, ValueId v) {
  for (int k = 0; k < l->lists.len; k++)
    if (l->lists.at[k].value == v) return &l->lists.at[k];
  return NULL;
}

ValueId list_new(Loader *l, ValueKind kind, const ValueId *at, int n) {
  Type t = {.kind = kind, .dtype = n ? value_of(l->m, at[0])->type.dtype : DT_F32, .rank = -1};
  ValueId v = graph_add_value(l->m, NULL, t);
  *vec_push(&l->tmp, &l->lists) = (List){v, kind, arena_dup(&l->tmp, at, sizeof *at * (size_t)n), n};
  return v;
}

void list_flatten(Loader *l, ValueId v, Leaves *out, Text *form) {
  const List *list = list_find(l, v);
  if (!list) {
    *vec_push(&l->tmp, out) = v;
    text_put(form, "t");
    return;
  }
  List copy = *list;                                            // the table may move
  text_put(form, copy.kind == KIND_SEQUENCE ? "[" : "?[");
  for (int k = 0; k < copy.n; k++) list_flatten(l, copy.at[k], out, form);
  text_put(form, "]");
}

/* ---- inputs ---- */
static bool option_find(Loader *l, const char *name, int *k) {
  for (*k = 0; *k < l->o->nlists; ++*k)
    if (!strcmp(l->o->lists[*k].name, name)) return l->list_used[*k] = true;
  return false;
}

ValueId list_input(Loader *l, Graph *g, const char *name, const Onnx__Type *t) {
  bool optional = t->optional_type != NULL;
  const Onnx__Type *inner = optional ? t->optional_type->elem_type : t->sequence_type->elem_type;
  bool sequence = !optional || (inner && inner->sequence_type);
  const Onnx__Type *elem = optional && sequence ? inner->sequence_type->elem_type : inner;
  int o;
  if (!option_find(l, name, &o)) {
    diag_error(l->d, "unsupported", NULL,
               "input '%s' is %s; how many tensors it holds must be fixed when compiling", name,
               optional ? "an optional" : "a sequence");
    diag_note(l->d, "hint: --list %s=COUNT", name);
    return 0;
  }
  int n = l->o->lists[o].n;
  if (n < 0 && optional) return list_new(l, KIND_OPTIONAL, NULL, 0);
  if (n < 0 || n > 4096 || (optional && !sequence && n > 1)) {
    diag_error(l->d, "usage", NULL, "input '%s' cannot hold %d tensors", name, n);
    return 0;
  }
  ValueId *at = NEW_N(&l->tmp, ValueId, n + 1);
  for (int k = 0; k < n; k++) {
    const char *part = arena_printf(&l->tmp, "%s_%d", name, k);
    Type type;
    if (l->o->lists[o].elem) type = l->o->lists[o].elem[k];
    else if (!onnx_type(l, part, elem, true, &type)) return 0;
    at[k] = graph_add_input(g, part, type);
  }
  if (!sequence) return list_new(l, KIND_OPTIONAL, at, n);
  ValueId v = list_new(l, KIND_SEQUENCE, at, n);
  return optional ? list_new(l, KIND_OPTIONAL, &v, 1) : v;
}

/* ---- for importers ---- */
bool imp_is_list(Import *x, ValueId v, ValueKind kind) {
  const List *list = v ? list_find(x->frontend, v) : NULL;
  return list && list->kind == kind;
}

ValueId imp_list(Import *x, ValueKind kind, const ValueId *at, int n) {
  if (x->failed) return 0;
  for (int k = 0; k < n; k++)
    if (!at[k]) return 0;
  return list_new(x->frontend, kind, at, n);
}

bool imp_elements(Import *x, ValueId v, const ValueId **at, int *n) {
  const List *list = v ? list_find(x->frontend, v) : NULL;
  if (!list) return imp_fail(x, "type", "an input should be a sequence or an optional, but is a tensor");
  *at = list->at, *n = list->n;
  return true;
}

const char *imp_region_form(Import *x, const Graph *g) {
  Loader *l = x->frontend;
  for (int k = 0; k < l->forms.len; k++)
    if (l->forms.at[k].g == g) return l->forms.at[k].text;
  return "";
}

/* One value of the form at *form, from the tensors at *flat. */
static ValueId regroup(Import *x, const char **form, const ValueId **flat) {
  ValueKind kind = KIND_SEQUENCE;
  if (**form == 't') {
    ++*form;
    return *(*flat)++;
  }
  if (**form == '?') kind = KIND_OPTIONAL, ++*form;
  ++*form;
  VEC(ValueId) at = {0};
  while (**form != ']') {
    ValueId v = regroup(x, form, flat);
    *vec_push(&x->m->perm, &at) = v;
  }
  ++*form;
  return imp_list(x, kind, at.at, at.len);
}

bool imp_set_flat(Import *x, const char *form, const ValueId *flat) {
  for (int k = 0; *form; k++) imp_set(x, k, regroup(x, &form, &flat));
  return !x->failed;
}
