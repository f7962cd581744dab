/* The loop interpreter: runs the code of loop_code.c. It is the definition of what emitted C means, so it
 * refuses what C would let pass: an index outside its buffer (in any lane), and reading 4- or 8-byte elements
 * that nobody wrote (they hold memory_poison's pattern). It runs loops in order and refuses what would differ if those
 * marked parallel were not (loop_race.c). The first such error ends the run. */
#include "base/intern.h"
#include "ir/loop_code.h"

static const uint32_t POISON = 0x7fa5c0de;                      // a signalling NaN as f32, far out as an index

void memory_poison(void *p, size_t bytes) {
  for (size_t i = 0; i + 4 <= bytes; i += 4) memcpy((char *)p + i, &POISON, 4);
  for (size_t i = bytes & ~(size_t)3; i < bytes; i++) ((char *)p)[i] = (char)0xa5;
}

static VEC(struct { const char *name; CallFn fn; }) calls;
static Arena calls_arena;                                        // of the process, like interned strings

void call_register(const char *name, CallFn fn) {
  vec_push(&calls_arena, &calls);
  calls.at[calls.len - 1].name = intern(name);
  calls.at[calls.len - 1].fn = fn;
}

static CallFn call_find(const char *name) {
  for (int i = 0; i < calls.len; i++)
    if (!strcmp(calls.at[i].name, name)) return calls.at[i].fn;
  return NULL;
}

typedef struct Run { Code *c; Memory *mem; Cell *r; Diags *d; Races *races; Arena tmp; } Run;

static bool fail(Run *x, const Instr *n, const char *what) {
  diag_error(x->d, "internal", NULL, "kernel %s: %s\n  in  %s", x->c->kernel->name, what,
             n->at ? stmt_line(&x->tmp, n->at) : "");
  return false;
}

static bool outside(Run *x, const Instr *n, int64_t i, const char *verb) {
  return fail(x, n, arena_printf(&x->tmp, "%s %s[%lld], which has %lld elements", verb, n->buf->name, (long long)i,
                                 (long long)x->mem[n->buf->index].elems));
}

/* ---- memory ---- */

#define READ(T, field) { T v; memcpy(&v, (const T *)p + i, sizeof v); out->field = v; return; }

static void read_cell(DType t, const void *p, int64_t i, Cell *out) {
  switch (t) {
  case DT_F32: READ(float, f)
  case DT_F64: READ(double, f)
  case DT_I8: case DT_I4: case DT_I2: READ(int8_t, i)
  case DT_I16: READ(int16_t, i)
  case DT_I32: READ(int32_t, i)
  case DT_I64: case DT_U64: READ(int64_t, i)
  case DT_U8: case DT_U4: case DT_U2: READ(uint8_t, i)
  case DT_BOOL: out->i = ((const uint8_t *)p)[i] != 0; return;
  case DT_U16: READ(uint16_t, i)
  case DT_U32: READ(uint32_t, i)
  default: break;
  }
  uint32_t bits = dtype_bytes(t) == 2 ? ((const uint16_t *)p)[i] : ((const uint8_t *)p)[i];
  out->f = (double)narrow_to_float(t, bits);
}

#define WRITE(T, value) { T v = (T)(value); memcpy((T *)p + i, &v, sizeof v); return; }

static void write_cell(DType t, void *p, int64_t i, Cell c) {
  switch (t) {
  case DT_F32: WRITE(float, c.f)
  case DT_F64: WRITE(double, c.f)
  case DT_I8: case DT_U8: case DT_I4: case DT_I2: case DT_U4: case DT_U2: case DT_BOOL: WRITE(uint8_t, c.i)
  case DT_I16: case DT_U16: WRITE(uint16_t, c.i)
  case DT_I32: case DT_U32: WRITE(uint32_t, c.i)
  case DT_I64: case DT_U64: WRITE(int64_t, c.i)
  default: break;
  }
  uint32_t bits = narrow_from_float(t, (float)c.f, false);
  if (dtype_bytes(t) == 2) ((uint16_t *)p)[i] = (uint16_t)bits;
  else ((uint8_t *)p)[i] = (uint8_t)bits;
}

static bool unwritten(Run *x, const Instr *n, int64_t i) {
  return fail(x, n, arena_printf(&x->tmp, "reads %s[%lld], which nobody wrote", n->buf->name, (long long)i));
}

static bool raced(Run *x, const Instr *n, int64_t i, const char *verb, const char *why) {
  return fail(x, n, arena_printf(&x->tmp, "%s %s[%lld], which %s", verb, n->buf->name, (long long)i, why));
}

static bool load_f32(Run *x, const Instr *n) {                   // the usual case: consecutive, by itself
  const Memory *m = &x->mem[n->buf->index];
  int64_t first = x->r[n->a].i;
  Cell *out = x->r + n->dst;
  if (first < 0 || first > m->elems - n->lanes)
    return outside(x, n, first < 0 ? first : m->elems > first ? m->elems : first, "reads");
  const char *from = (const char *)m->data + first * 4;
  for (int l = 0; l < n->lanes; l++, from += 4) {
    uint32_t bits;
    float v;
    memcpy(&bits, from, 4);
    if (bits == POISON) return unwritten(x, n, first + l);
    const char *why = x->races ? races_read(x->races, n->buf, first + l) : NULL;
    if (why) return raced(x, n, first + l, "reads", why);
    memcpy(&v, from, 4);
    out[l].f = (double)v;
  }
  return true;
}

static bool is_poison(const void *p, int64_t i, int bytes) {
  uint32_t v[2] = {POISON, POISON};
  return bytes >= 4 && memcmp((const char *)p + i * bytes, v, (size_t)bytes) == 0;
}

static bool load(Run *x, const Instr *n, bool run) {
  const Memory *m = &x->mem[n->buf->index];
  DType t = n->buf->dtype;
  int bytes = dtype_bytes(t);
  Cell *out = x->r + n->dst;
  const Cell *at = x->r + n->a;
  int64_t first = at->i;
  if (run && t == DT_F32) return load_f32(x, n);
  for (int l = 0; l < n->lanes; l++) {
    int64_t i = run ? first + l : at[l].i;
    if ((uint64_t)i >= (uint64_t)m->elems) return outside(x, n, i, "reads");
    if (is_poison(m->data, i, bytes)) return unwritten(x, n, i);
    const char *why = x->races ? races_read(x->races, n->buf, i) : NULL;
    if (why) return raced(x, n, i, "reads", why);
    read_cell(t, m->data, i, &out[l]);
  }
  return true;
}

static bool store(Run *x, const Instr *n, bool run) {
  const Memory *m = &x->mem[n->buf->index];
  DType t = n->buf->dtype;
  const Cell *at = x->r + n->a, *v = x->r + n->b;
  for (int l = 0; l < n->lanes; l++) {
    int64_t i = run ? at->i + l : at[l].i;
    if ((uint64_t)i >= (uint64_t)m->elems) return outside(x, n, i, "writes");
    const char *why = x->races ? races_write(x->races, n->buf, i) : NULL;
    if (why) return raced(x, n, i, "writes", why);
    if (t == DT_F32) ((float *)m->data)[i] = (float)v[l].f;
    else write_cell(t, m->data, i, v[l]);
  }
  return true;
}

/* ---- arithmetic ---- */

static double rounded(DType t, double v) { return t == DT_F32 ? (double)(float)v : v; }

static int64_t float_to_int(DType to, double v) {               // where C has no answer: what x86 and arm agree on least; 0
  if (v != v) return 0;
  if (to == DT_U64)
    return v >= 18446744073709551616.0 || v <= -9223372036854775808.0 ? 0
        : v < 0                                                       ? (int64_t)v
                                                                      : (int64_t)(uint64_t)v;
  if (v >= 9223372036854775808.0 || v < -9223372036854775808.0) return 0;
  return int_wrap(to, (int64_t)v);
}

static Cell cast(const Instr *n, Cell a) {
  DType to = (DType)n->k;
  bool in = dtype_is_float(n->from), out = dtype_is_float(to);
  Cell r;
  if (!out) {
    r.i = in ? float_to_int(to, a.f) : int_wrap(to, a.i);
    return r;
  }
  double v = in ? a.f : n->from == DT_U64 ? (double)(uint64_t)a.i : (double)a.i;
  if (!in && to == DT_F32) v = n->from == DT_U64 ? (double)(float)(uint64_t)a.i : (double)(float)a.i;
  r.f = to == DT_F64 ? v
      : to == DT_F32 ? (double)(float)v
                     : (double)narrow_to_float(to, narrow_from_float(to, (float)v, false));
  return r;
}

static Cell bits(const Instr *n, Cell a) {
  char raw[8] = {0};
  Cell r;
  write_cell(n->from, raw, 0, a);
  read_cell(n->elem, raw, 0, &r);
  return r;
}

static Cell scalar(const Instr *n, Cell a, Cell b, Cell c) {
  Cell r;
  bool to_bool = n->elem == DT_BOOL;
  if (n->op == DO_FLOAT) {
    double v = scalar_eval_float(n->scalar, a.f, b.f, c.f);
    if (to_bool) r.i = v != 0;
    else r.f = rounded(n->elem, v);
  } else if (n->op == DO_INT) {
    r.i = int_wrap(n->elem, scalar_eval_int(n->scalar, a.i, b.i, c.i));
  } else {
    r.i = int_wrap(n->elem, (int64_t)scalar_eval_uint(n->scalar, (uint64_t)a.i, (uint64_t)b.i, (uint64_t)c.i));
  }
  return r;
}

static Cell reduce(const Instr *n, const Cell *a) {              // pairwise halves
  Cell v[256];
  Instr one = *n;
  one.op = dtype_is_float(n->elem) ? DO_FLOAT : dtype_info[n->elem].cls == CLASS_UINT ? DO_UINT : DO_INT;
  memcpy(v, a, sizeof(Cell) * (size_t)n->lanes);
  for (int w = n->lanes; w > 1; w = (w + 1) / 2)
    for (int l = 0; l < w / 2; l++) v[l] = scalar(&one, v[l], v[l + (w + 1) / 2], v[l]);
  return v[0];
}

static bool call(Run *x, const Instr *n) {
  const Stmt *s = n->at;
  CallFn fn = call_find(s->text);
  Memory bufs[64];
  CallArg args[64];
  if (!fn || s->nbufs > 64 || s->nargs > 64) return fail(x, n, "calls a function the interpreter does not know");
  for (int i = 0; i < s->nbufs; i++) bufs[i] = x->mem[s->bufs[i]->index];
  for (int i = 0; i < s->nargs; i++) memcpy(&args[i], &x->r[n->a + i], sizeof args[i]);
  fn(bufs, args);
  return true;
}

#define LANES(n) for (int l = 0; l < (n)->lanes; l++)

static bool execute(Run *x) {
  Cell *r = x->r;
  for (const Instr *n = x->c->code.at;; n++) {
    Cell *d = r + n->dst;
    const Cell *a = r + n->a, *b = r + n->b, *c = r + n->c;
    switch (n->op) {
    case DO_MOVE: LANES(n) d[l] = a[l]; break;
    case DO_JUMP: n = x->c->code.at + n->jump - 1; break;
    case DO_JUMP_IF_NOT: if (!a->i) n = x->c->code.at + n->jump - 1; break;
    case DO_FOR:
      *d = *a;
      if (d->i >= b->i) n = x->c->code.at + n->jump - 1;
      break;
    case DO_NEXT:
      d->i += n->k;
      if (d->i < b->i) n = x->c->code.at + n->jump - 1;
      break;
    case DO_SPLAT: { Cell v = *a; LANES(n) d[l] = v; break; }
    case DO_RAMP: { int64_t v = a->i; LANES(n) d[l].i = v + l * n->k; break; }
    case DO_LOAD_RUN: if (!load(x, n, true)) return false; break;
    case DO_LOAD: if (!load(x, n, false)) return false; break;
    case DO_STORE_RUN: if (!store(x, n, true)) return false; break;
    case DO_STORE: if (!store(x, n, false)) return false; break;
    case DO_ADD_F32: LANES(n) d[l].f = (double)(float)(a[l].f + b[l].f); break;
    case DO_SUB_F32: LANES(n) d[l].f = (double)(float)(a[l].f - b[l].f); break;
    case DO_MUL_F32: LANES(n) d[l].f = (double)(float)(a[l].f * b[l].f); break;
    case DO_FMA_F32: LANES(n) d[l].f = (double)(float)(a[l].f * b[l].f + c[l].f); break;
    case DO_FMA_F64: LANES(n) d[l].f = a[l].f * b[l].f + c[l].f; break;
    case DO_ADD_I64: LANES(n) d[l].i = (int64_t)((uint64_t)a[l].i + (uint64_t)b[l].i); break;
    case DO_SUB_I64: LANES(n) d[l].i = (int64_t)((uint64_t)a[l].i - (uint64_t)b[l].i); break;
    case DO_MUL_I64: LANES(n) d[l].i = (int64_t)((uint64_t)a[l].i * (uint64_t)b[l].i); break;
    case DO_LT_I64: LANES(n) d[l].i = a[l].i < b[l].i; break;
    case DO_FLOAT: case DO_INT: case DO_UINT: LANES(n) d[l] = scalar(n, a[l], b[l], c[l]); break;
    case DO_SELECT: LANES(n) d[l] = a[l].i ? b[l] : c[l]; break;
    case DO_CAST: LANES(n) d[l] = cast(n, a[l]); break;
    case DO_BITS: LANES(n) d[l] = bits(n, a[l]); break;
    case DO_REDUCE: *d = reduce(n, a); break;
    case DO_PART: LANES(n) d[l] = a[l + n->k]; break;
    case DO_ENTER: races_enter(x->races, (RaceOf)n->k); break;
    case DO_ITERATE: races_iterate(x->races); break;
    case DO_LEAVE: races_leave(x->races); break;
    case DO_CALL: if (!call(x, n)) return false; break;
    case DO_END: return true;
    }
  }
}

/* ---- a run ---- */

typedef struct DimValues { const Kernel *k; const int64_t *dims; } DimValues;

static int64_t dim_value(const char *symbol, void *ctx) {
  const DimValues *v = ctx;
  for (int i = 0; i < v->k->dims.len; i++)
    if (!strcmp(v->k->dims.at[i], symbol)) return v->dims[i];
  return -1;
}

static bool dims_known(const Kernel *k, Dim d) {                 // are all its symbols parameters of the kernel?
  if (dim_is_const(d)) return true;
  for (int i = 0; i < symbol_count(); i++) {
    const char *name = symbol_at(i)->name;
    if (dim_eq(dim_subst(d, name, DIM(1)), d)) continue;
    bool found = false;
    for (int j = 0; j < k->dims.len; j++) found |= !strcmp(k->dims.at[j], name);
    if (!found) return false;
  }
  return true;
}

/* A buffer's bound is the smaller of what the kernel says and what the caller gave. */
static bool bind(Run *x, Memory *mem, const int64_t *dims) {
  const Kernel *k = x->c->kernel;
  DimValues v = {k, dims};
  x->mem = NEW_N(&x->tmp, Memory, k->bufs.len);
  for (int i = 0; i < k->bufs.len; i++) {
    const Buf *b = k->bufs.at[i];
    Memory *m = &x->mem[b->index];
    int64_t size = dims_known(k, b->size) ? dim_eval(b->size, dim_value, &v) : -1;
    if (b->role == BUF_LOCAL) {
      m->elems = size;
      m->data = arena_alloc(&x->tmp, (size_t)size * (size_t)dtype_bytes(b->dtype));
    } else {
      *m = mem[b->index];
      if (size >= 0 && size > m->elems) {
        diag_error(x->d, "internal", NULL, "kernel %s: %s has %lld elements, %lld given", k->name, b->name,
                   (long long)size, (long long)m->elems);
        return false;
      }
      if (size >= 0) m->elems = size;
    }
    if (b->role == BUF_LOCAL || b->role == BUF_SCRATCH)
      memory_poison(m->data, (size_t)m->elems * (size_t)dtype_bytes(b->dtype));
  }
  return true;
}

static void set_dims(Run *x, const int64_t *dims, int part, int parts) {
  const Kernel *k = x->c->kernel;
  for (int i = 0; i < k->dim_vars.len; i++) {
    bool own = k->parts && symbol_is_of_parts(k->dims.at[i]);
    x->r[code_var(x->c, k->dim_vars.at[i])].i = !own ? dims[i] : !strcmp(k->dims.at[i], PART_SYMBOL) ? part : parts;
  }
}

bool code_run_parts(Code *c, Memory *const *mem, const int64_t *dims, int parts, Diags *d) {
  Run x = {.c = c, .d = d};
  int low = c->constants.len;
  Cell *cells = NEW_N(&x.tmp, Cell, low + c->cells + 1);
  x.r = cells + low;
  for (int i = 0; i < low; i++) x.r[-1 - i] = c->constants.at[i];
  bool ok = true;
  for (int part = parts - 1; ok && part >= 0; part--) {
    set_dims(&x, dims, part, parts);
    ok = bind(&x, mem[part], dims);
    if (ok && part == parts - 1) {
      x.races = races_new(c->kernel, x.mem);
      if (x.races) races_enter(x.races, OF_PARTS);
    }
    if (x.races) races_iterate(x.races);
    ok = ok && execute(&x);
  }
  races_free(x.races);
  arena_free(&x.tmp);
  return ok;
}

bool code_run(Code *c, Memory *mem, const int64_t *dims, Diags *d) { return code_run_parts(c, &mem, dims, 1, d); }

bool kernel_run(const Kernel *k, Memory *mem, const int64_t *dims, Diags *d) {
  Arena a = {0};
  bool ok = code_run(code_make(&a, k), mem, dims, d);
  arena_free(&a);
  return ok;
}
