/* Types of a model's inputs and outputs, the free dims in them, and values bound to inputs.
 *
 * A dim without a number becomes a symbol: named by its dim_param, else after input and axis (`x_0`). The
 * options bind it, the most specific entry first: `INPUT.AXIS`, then the dim_param, then `*`. One value makes it
 * a constant, a range gives the symbol's bounds. Without an entry a sample of the input gives the size. Those that
 * are still free get [1, 65536], wide enough for batch, time and image axes, and narrow enough that products of a
 * few still fit 64 bits: good for looking at a model, absurd as a memory plan, so `want_dims` makes them errors. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/intern.h"
#include "base/text.h"
#include "frontend/onnx_loader.h"

enum { FREE_LO = 1, FREE_HI = 65536 };

/* A name that the dim parser reads back: letters, digits, _; not one of its operators. */
static const char *symbol_name(Arena *a, const char *text) {
  static const char *const taken[] = {"floordiv", "ceildiv", "mod", "min", "max", NULL};
  char *s = arena_printf(a, "%s%s", isalpha((unsigned char)*text) || *text == '_' ? "" : "d", text);
  for (char *p = s; *p; p++)
    if (!isalnum((unsigned char)*p)) *p = '_';
  for (int k = 0; taken[k]; k++)
    if (!strcmp(s, taken[k])) return arena_printf(a, "%s_", s);
  return s;
}

static int find_option(Loader *l, const char *name) {
  for (int k = 0; k < l->o->ndims; k++)
    if (!strcmp(l->o->dims[k].name, name)) {
      l->dim_used[k] = true;
      return k;
    }
  return -1;
}

static void remember_unbound(Loader *l, const char *flag, const char *input, int axis) {
  for (int k = 0; k < l->unbound.len; k++)
    if (!strcmp(l->unbound.at[k].flag, flag)) return;
  *vec_push(&l->tmp, &l->unbound) = (Unbound){flag, input, axis};
}

/* The size that the sample of the input at work gives to an axis; -1: none does. */
static int64_t sampled_dim(Loader *l, int axis) {
  if (l->input >= l->o->nsamples) return -1;
  ImportSample *s = &l->o->samples[l->input];
  if (!s->value || axis >= s->value->rank) return -1;
  s->shaped = true;
  return s->value->dims[axis];
}

static Dim free_dim(Loader *l, const char *input, int axis, const char *param) {
  bool named = param && *param;
  const char *place = arena_printf(&l->tmp, "%s.%d", input, axis);
  int k = find_option(l, place);
  if (k >= 0) param = place, named = false;
  if (k < 0 && named) {
    k = find_option(l, param);
    if (k < 0) k = find_option(l, symbol_name(&l->tmp, param));
  }
  if (k < 0) k = find_option(l, "*");
  int64_t sampled = k < 0 ? sampled_dim(l, axis) : -1;
  if (sampled >= 0) return DIM(sampled);
  if (k < 0 && l->o->want_dims) remember_unbound(l, named ? param : place, input, axis);
  int64_t lo = k >= 0 ? l->o->dims[k].lo : FREE_LO, hi = k >= 0 ? l->o->dims[k].hi : FREE_HI;
  if (lo == hi) return DIM(lo);
  const char *name = named ? param : arena_printf(&l->tmp, "%s_%d", input, axis);
  return dim_symbol(intern(symbol_name(&l->tmp, name)), lo, hi);
}

bool imp_free_batch(Import *x) { return ((Loader *)x->frontend)->o->free_batch; }

static Dim fixed_dim(Loader *l, const char *input, int axis, int64_t n) {
  if (l->o->free_batch && axis == 0 && n == 1) return dim_symbol(intern("batch"), FREE_LO, FREE_HI);
  int k = find_option(l, arena_printf(&l->tmp, "%s.%d", input, axis));
  if (k >= 0 && (l->o->dims[k].lo > n || l->o->dims[k].hi < n))
    diag_error(l->d, "usage", NULL, "axis %d of input '%s' is %lld in the model and cannot be changed", axis, input,
               (long long)n);
  return DIM(n);
}

static const char *kind_text(const Onnx__Type *t) {
  return t->sequence_type     ? "a sequence"
      : t->optional_type      ? "an optional"
      : t->sparse_tensor_type ? "a sparse tensor"
                              : "of no known type";
}

bool onnx_type(Loader *l, const char *name, const Onnx__Type *t, bool is_main, Type *out) {
  *out = (Type){.rank = -1};
  const Onnx__TensorType *tensor = t ? t->tensor_type : NULL;
  if (!tensor) {
    if (!is_main) return true;
    diag_error(l->d, "unsupported", NULL, "input '%s' is %s; lathe takes tensors", name,
               t ? kind_text(t) : "of no known type");
    return false;
  }
  out->dtype = dtype_from_onnx(tensor->elem_type);
  if (out->dtype == DT_NONE && (is_main || tensor->elem_type)) {
    diag_error(l->d, "type", NULL, "input '%s' has element type %d, which lathe does not know", name,
               (int)tensor->elem_type);
    return false;
  }
  if (!tensor->shape) {
    if (!is_main) return true;
    diag_error(l->d, "shape", NULL, "input '%s' has no shape, not even a number of dimensions", name);
    diag_note(l->d, "hint: export the model with input shapes; single dims may stay free");
    return false;
  }
  if (tensor->shape->n_dim > MAX_RANK) {
    diag_error(l->d, "shape", NULL, "input '%s' has %zu dimensions; lathe's limit is %d", name,
               tensor->shape->n_dim, MAX_RANK);
    return false;
  }
  for (size_t k = 0; k < tensor->shape->n_dim; k++) {
    const Onnx__Dimension *d = tensor->shape->dim[k];
    bool fixed = d->has_dim_value && d->dim_value != -1;      // -1: old exporters' way to say free
    if (!fixed && !is_main) return true;                      // a region's input: all of the shape or none
    if (fixed && (d->dim_value < 0 || d->dim_value > INT32_MAX * (int64_t)64)) {
      diag_error(l->d, "shape", NULL, "axis %zu of input '%s' is %lld long", k, name, (long long)d->dim_value);
      return false;
    }
    out->dims[k] = !fixed ? free_dim(l, name, (int)k, d->dim_param)
                   : is_main ? fixed_dim(l, name, (int)k, d->dim_value) : DIM(d->dim_value);
  }
  out->rank = (int)tensor->shape->n_dim;
  return true;
}

void onnx_check_output(Loader *l, const char *name, const Onnx__Type *declared, const Type *inferred) {
  const Onnx__TensorType *t = declared ? declared->tensor_type : NULL;
  if (!t || inferred->rank < 0) return;
  DType dt = dtype_from_onnx(t->elem_type);
  bool same = !t->elem_type || dt == inferred->dtype;
  if (t->shape) {
    same &= (int)t->shape->n_dim == inferred->rank;
    for (int k = 0; same && k < inferred->rank; k++) {
      const Onnx__Dimension *d = t->shape->dim[k];
      if (d->has_dim_value && d->dim_value > 0)
        same = d->dim_value >= dim_lo(inferred->dims[k]) && d->dim_value <= dim_hi(inferred->dims[k]);
    }
  }
  if (same) return;
  Text text = {0};
  text_printf(&text, "%s[", dt ? dtype_info[dt].text : "?");
  for (size_t k = 0; t->shape && k < t->shape->n_dim; k++) {
    const Onnx__Dimension *d = t->shape->dim[k];
    text_put(&text, k ? "," : "");
    if (d->has_dim_value) text_printf(&text, "%lld", (long long)d->dim_value);
    else text_put(&text, d->dim_param && *d->dim_param ? d->dim_param : "?");
  }
  diag_warn(l->d, "shape", NULL, "output '%s' is declared as %s], but is %s; the latter is used", name, text.at,
            type_text(inferred));
  text_free(&text);
}

/* A bound value may be written shorter than it is: any numeric type, a number for a list of one. */
bool onnx_bound(Loader *l, const char *name, const Type *t, const Tensor **value) {
  const Tensor *v = NULL;
  for (int k = 0; k < l->o->nbinds && !v; k++)
    if (!strcmp(l->o->binds[k].name, name)) v = l->o->binds[k].value, l->bind_used[k] = true;
  if (!v && l->input < l->o->nsamples && l->o->samples[l->input].bind) v = l->o->samples[l->input].value;
  *value = v;
  if (!v) return true;
  int64_t count = tensor_count(v), dims[MAX_RANK] = {1};
  bool one = count == 1 && t->rank <= 1, fits = v->rank == t->rank || one;
  for (int k = 0; fits && k < t->rank; k++) {
    if (!one || v->rank == t->rank) dims[k] = v->dims[k];
    fits = dims[k] >= dim_lo(t->dims[k]) && dims[k] <= dim_hi(t->dims[k]);
    if (dim_is(t->dims[k], 0)) fits = dims[k] == 0;
  }
  bool strings = v->dtype == DT_STRING || t->dtype == DT_STRING;
  if (!fits || (strings && v->dtype != t->dtype)) {
    Dim shape[MAX_RANK];
    for (int k = 0; k < v->rank; k++) shape[k] = DIM(v->dims[k]);
    Type have = type_of(v->dtype, v->rank, shape);
    diag_error(l->d, "usage", NULL, "input '%s' is %s; the value bound to it is %s", name, type_text(t),
               type_text(&have));
    return false;
  }
  Tensor *c = arena_dup(&l->m->perm, v, sizeof *v);
  c->rank = t->rank;
  memcpy(c->dims, dims, sizeof *dims * (size_t)t->rank);
  if (v->dtype != t->dtype) {
    c = tensor_new(&l->m->perm, t->dtype, t->rank, dims);
    for (int64_t i = 0; i < count; i++) {
      if (dtype_is_float(v->dtype)) tensor_set(c, i, tensor_get(v, i));
      else tensor_set_int(c, i, tensor_get_int(v, i));
      if (tensor_get(c, i) == tensor_get(v, i) || dtype_is_float(c->dtype)) continue;
      diag_error(l->d, "usage", NULL, "the value bound to input '%s' does not fit its type %s", name, type_text(t));
      return false;
    }
  }
  *value = c;
  return true;
}

static void unknown_option(Loader *l, const char *what, const char *name) {
  diag_error(l->d, "usage", NULL, "the model has no %s '%s'", what, name);
  for (int i = 0; i < l->m->main->inputs.len; i++) {
    const Value *v = value_of(l->m, l->m->main->inputs.at[i]);
    diag_note(l->d, "input '%s': %s", v->name, type_text(&v->type));
  }
}

/* As a word of a shell's command line. */
static const char *shell_word(Arena *a, const char *s) {
  for (const char *p = s; *p; p++)
    if (!isalnum((unsigned char)*p) && !strchr("_.-:/", *p)) return arena_printf(a, "'%s'", s);
  return s;
}

static void report_unbound(Loader *l) {
  if (!l->unbound.len) return;
  diag_error(l->d, "shape", NULL, "the model leaves %s free; say which %s needed",
             l->unbound.len > 1 ? "sizes" : "a size", l->unbound.len > 1 ? "ones are" : "one is");
  for (int k = 0; k < l->unbound.len; k++) {
    const char *word = shell_word(&l->tmp, l->unbound.at[k].flag);
    diag_note(l->d, "axis %d of input '%s':  --dim %s=1  or a range, --dim %s=1..32", l->unbound.at[k].axis,
              l->unbound.at[k].input, word, word);
  }
}

void onnx_check_options(Loader *l) {
  report_unbound(l);
  for (int k = 0; k < l->o->ndims; k++)
    if (!l->dim_used[k] && strcmp(l->o->dims[k].name, "*")) unknown_option(l, "free dim", l->o->dims[k].name);
  for (int k = 0; k < l->o->nbinds; k++)
    if (!l->bind_used[k]) unknown_option(l, "input", l->o->binds[k].name);
  for (int k = 0; k < l->o->nlists; k++)
    if (!l->list_used[k]) unknown_option(l, "sequence or optional", l->o->lists[k].name);
}
