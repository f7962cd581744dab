/* Inputs and outputs of an ONNX file, and what to fix so that a data set can be run. See ports.h. */
#include "driver/ports.h"
#include "frontend/onnx_model.h"
#include "runtime/lt_zip.h"
#include <stdlib.h>
#include <unistd.h>

static Port port_of(Arena *a, const Onnx__ValueInfo *v) {
  ValueKind kind = !v->type    ? KIND_TENSOR
      : v->type->sequence_type ? KIND_SEQUENCE
      : v->type->optional_type ? KIND_OPTIONAL
                               : KIND_TENSOR;
  return (Port){.name = arena_strdup(a, v->name ? v->name : ""), .kind = kind};
}

static bool has_initializer(const Onnx__Graph *g, const char *name) {
  for (size_t i = 0; i < g->n_initializer; i++)
    if (g->initializer[i]->name && !strcmp(g->initializer[i]->name, name)) return true;
  return false;
}

bool ports_find(Ports *p, Arena *a, const char *path, Diags *d) {
  OnnxBytes b;
  if (!onnx_bytes_open(&b, path, d)) return false;
  Arena tmp = {0};
  const Onnx__Model *m = onnx_decode_model(&tmp, b.at, b.len, d);
  onnx_bytes_close(&b);
  bool ok = m && m->graph;
  if (ok) {
    p->in = NEW_N(a, Port, m->graph->n_input + 1);
    p->out = NEW_N(a, Port, m->graph->n_output + 1);
    p->samples = NEW_N(a, ImportSample, m->graph->n_input + 1);
    for (size_t k = 0; k < m->graph->n_input; k++) {
      Port x = port_of(a, m->graph->input[k]);
      if (!has_initializer(m->graph, x.name)) p->in[p->nin++] = x;
    }
    for (size_t k = 0; k < m->graph->n_output; k++) p->out[p->nout++] = port_of(a, m->graph->output[k]);
  }
  arena_free(&tmp);
  return ok;
}

static bool load(Port *p, Arena *a, const char *dir, const char *which, int k, Diags *d) {
  const char *path = arena_printf(a, "%s/%s_%d.pb", dir, which, k);
  p->value = NULL;
  p->list = NULL;
  if (access(path, R_OK)) return true;
  if (p->kind != KIND_TENSOR) return onnx_load_list(a, path, p->kind, &p->list, &p->n, d);
  return (p->value = onnx_load_tensor(a, path, d)) != NULL;
}

bool ports_load(Ports *p, Arena *a, const char *dir, Diags *d) {
  for (int k = 0; k < p->nin; k++)
    if (!load(&p->in[k], a, dir, "input", k, d)) return false;
  for (int k = 0; k < p->nout; k++)
    if (!load(&p->out[k], a, dir, "output", k, d)) return false;
  return true;
}

static const Tensor *npz_array(Arena *a, const void *zip, size_t bytes, const char *name, char *why, size_t why_len) {
  size_t n = 0;
  void *npy = lt_zip_member(zip, bytes, arena_printf(a, "%s.npy", name), &n, why, why_len);
  lt_tensor t;
  bool read = npy && !lt_npy_parse(npy, n, &t, why, why_len);
  free(npy);
  if (!read) return NULL;
  DType type = dtype_from_text(t.dtype);
  Tensor *r = type != DT_NONE && t.rank <= MAX_RANK ? tensor_new(a, type, t.rank, t.dims) : NULL;
  if (!r) snprintf(why, why_len, "%s of rank %d is not supported", t.dtype, t.rank);
  else if (tensor_bytes(r)) memcpy(r->data, t.data, tensor_bytes(r));
  lt_tensor_free(&t);
  return r;
}

bool ports_load_npz(Ports *p, Arena *a, const char *path, Diags *d) {
  char why[400];
  size_t bytes = 0;
  void *zip = lt_read_file(path, &bytes, why, sizeof why);
  if (!zip) { diag_error(d, "io", NULL, "%s", why); return false; }
  bool ok = true;
  for (int k = 0; ok && k < p->nin; k++) {
    p->in[k].value = npz_array(a, zip, bytes, p->in[k].name, why, sizeof why);
    ok = p->in[k].value != NULL;
    if (!ok) diag_error(d, "io", NULL, "%s: input '%s': %s", path, p->in[k].name, why);
  }
  free(zip);
  return ok;
}

static Type type_of_tensor(const Tensor *t) {
  Dim dims[MAX_RANK] = {{0}};
  for (int k = 0; k < t->rank; k++) dims[k] = DIM(t->dims[k]);
  return type_of(t->dtype, t->rank, dims);
}

/* The arrays of `io` were sized for the command line's options: they move to larger ones. */
#define GROW(field, n, more)                                                          \
  (io->field = memcpy(arena_alloc(a, sizeof *io->field * (size_t)((n) + (more) + 1)), \
                      io->field ? (const void *)io->field : "", sizeof *io->field * (size_t)(n)))

void ports_options(const Ports *p, Arena *a, ImportOptions *io) {
  GROW(binds, io->nbinds, p->nin);
  GROW(lists, io->nlists, p->nin);
  io->samples = p->samples;
  io->nsamples = p->nin;
  for (int k = 0; k < p->nin; k++) {
    const Port *x = &p->in[k];
    if (x->bound && x->value) {
      io->binds[io->nbinds].name = x->name;
      io->binds[io->nbinds++].value = x->value;
    }
    p->samples[k] = (ImportSample){.value = x->value};
    if (x->kind == KIND_TENSOR || (!x->list && x->n >= 0)) continue;
    Type *elem = NEW_N(a, Type, x->n + 2);
    for (int i = 0; i < x->n; i++) elem[i] = type_of_tensor(x->list[i]);
    io->lists[io->nlists].name = x->name;
    io->lists[io->nlists].n = x->n;
    io->lists[io->nlists++].elem = elem;
  }
}

const Tensor *ports_input(const Ports *p, Arena *a, const char *name) {
  for (int k = 0; k < p->nin; k++) {
    const Port *x = &p->in[k];
    if (x->kind == KIND_TENSOR && !strcmp(x->name, name)) return x->value;
    for (int i = 0; x->list && i < x->n; i++)
      if (!strcmp(arena_printf(a, "%s_%d", x->name, i), name)) return x->list[i];
  }
  return NULL;
}

/* ---- what a failed import asks for ---- */

static bool says(const Diags *d, const char *text) {
  for (int i = 0; i < d->len; i++)
    if (strstr(d->at[i].text, text)) return true;
  return false;
}

/* A single integer may decide a shape or which branch runs. */
static bool may_bind(const Port *p, bool any) {
  const Tensor *t = p->value;
  return t && !p->bound &&
      (any || (t->rank <= 1 && tensor_count(t) == 1 && !dtype_is_float(t->dtype) && t->dtype != DT_STRING));
}

static bool bind_asked(Ports *p, const Diags *d, bool any) {
  bool more = false;
  for (int i = 0; i < d->len; i++)
    for (const char *s = d->at[i].text; (s = strstr(s, "--bind ")) != NULL;) {
      s += 7;
      for (int k = 0; k < p->nin; k++) {
        size_t n = strlen(p->in[k].name);
        if (!strncmp(s, p->in[k].name, n) && s[n] == '=' && may_bind(&p->in[k], any)) p->in[k].bound = more = true;
      }
    }
  return more;
}

static bool bind_small(Ports *p, int rank, bool any) {
  bool more = false;
  for (int k = 0; k < p->nin; k++)
    if (may_bind(&p->in[k], any) && p->in[k].value->rank <= rank) p->in[k].bound = more = true;
  return more;
}

bool ports_adapt(Ports *p, const Diags *d, bool any) {
  if (says(d, "operator ")) return false;                      // an operator is missing: nothing helps
  if (says(d, "exists only at run time")) return bind_asked(p, d, any) || bind_small(p, 1, any);
  return bind_small(p, 0, any) || bind_small(p, 1, false);     // what chooses between branches
}

void ports_imported(Ports *p) {
  for (int k = 0; k < p->nin && p->samples; k++) p->in[k].sample = p->samples[k];
}
