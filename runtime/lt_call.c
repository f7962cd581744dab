/* See lt_call.h. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "lt_call.h"
#include "lt_memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(char *why, size_t n) { snprintf(why, n, "no memory"); return -1; }

/* Room for the outputs at the largest sizes. */
static int make_outputs(lt_call *c, char *why, size_t why_len) {
  int k, i;
  for (k = 0; k < c->f->symbols; k++) c->symbols[k] = c->f->symbol[k].hi;
  for (k = 0; k < c->f->outputs; k++) {
    lt_tensor *t = &c->result[k];
    const lt_port *p = &c->f->out[k];
    snprintf(t->dtype, sizeof t->dtype, "%s", p->dtype);
    t->elem_bytes = p->elem_bytes;
    t->rank = p->rank;
    c->f->out_dims(c->symbols, k, t->dims);
    t->count = 1;
    for (i = 0; i < t->rank; i++) t->count *= t->dims[i];
    c->out[k] = t->data = lt_alloc((size_t)t->count * (size_t)t->elem_bytes);
    if (!t->data) return no_memory(why, why_len);
  }
  return 0;
}

int lt_call_open(lt_call *c, const lt_bundle *b, const lt_function *f, char *why, size_t why_len) {
  int i, k;
  memset(c, 0, sizeof *c);
  c->f = f;
  c->column = calloc((size_t)f->inputs + 1, sizeof *c->column);
  c->symbols = calloc((size_t)f->symbols + 1, sizeof *c->symbols);
  c->in = calloc((size_t)f->inputs + 1, sizeof *c->in);
  c->out = calloc((size_t)f->outputs + 1, sizeof *c->out);
  c->result = calloc((size_t)f->outputs + 1, sizeof *c->result);
  if (!c->column || !c->symbols || !c->in || !c->out || !c->result) return no_memory(why, why_len);
  for (i = 0; i < f->inputs; i++) {
    for (k = 0; k < b->columns && strcmp(b->column[k].name, f->in[i].name); k++) continue;
    c->column[i] = k;
    if (k < b->columns) continue;
    snprintf(why, why_len, "%s takes '%s', which is no column of the data", f->name, f->in[i].name);
    return -1;
  }
  return make_outputs(c, why, why_len);
}

int lt_call_takes(const lt_call *c, int64_t n) {
  int i;
  for (i = 0; i < c->f->symbols; i++) {
    const lt_symbol *s = &c->f->symbol[i];
    if (s->input >= 0 && (n < s->lo || n > s->hi)) return 0;
  }
  for (i = 0; i < c->f->inputs; i++)
    if (c->f->in[i].rank && c->f->in[i].dims[0] >= 0 && c->f->in[i].dims[0] != n) return 0;
  return 1;
}

static int grow(lt_compute *by, const lt_call *c, int64_t n, char *why, size_t why_len) {
  size_t need = c->f->arena_bytes(c->symbols);
  if (by->pool) need += (size_t)(by->pool->threads(by->pool->self) - 1) * c->f->part_bytes;
  if (need <= by->bytes && by->arena) return 0;
  free(by->arena);
  by->arena = lt_alloc(need);
  by->bytes = need;
  if (by->arena) return 0;
  snprintf(why, why_len, "no memory for the %zu bytes that %s needs with %lld rows", need, c->f->name, (long long)n);
  return -1;
}

int lt_call_run(lt_call *c, void *state, lt_compute *by, void *const *column, int64_t n, char *why, size_t why_len) {
  const lt_function *f = c->f;
  int i, code;
  for (i = 0; i < f->symbols; i++) c->symbols[i] = n;
  for (i = 0; i < f->inputs; i++) c->in[i] = column[c->column[i]];
  if (grow(by, c, n, why, why_len)) return -1;
  code = by->pool && f->run_parallel ? f->run_parallel(state, by->arena, c->symbols, c->in, c->out, by->pool)
                                     : f->run(state, by->arena, c->symbols, c->in, c->out);
  if (!code) return 0;
  snprintf(why, why_len, "%s: %s", f->name, f->error(code));
  return -1;
}

int lt_call_is_scalar(const lt_call *c, int k) {
  int i;
  for (i = 0; i < c->f->out[k].rank; i++)
    if (c->f->out[k].dims[i] != 1) return 0;
  return 1;
}

double lt_call_scalar(const lt_call *c, int k) { return lt_get(&c->result[k], 0); }

void lt_call_close(lt_call *c) {
  int k;
  for (k = 0; c->result && k < c->f->outputs; k++) lt_tensor_free(&c->result[k]);
  free(c->column);
  free(c->symbols);
  free(c->in);
  free(c->out);
  free(c->result);
}
