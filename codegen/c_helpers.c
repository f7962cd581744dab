/* Helper functions of the emitted C: what vector code needs and C has no operator for. Each is printed once,
 * when first asked for, after the types and helpers that it uses itself.
 *
 *   load_f32x16(p)                 store_f32x16(p, v)               unaligned, stride 1
 *   load_stride_f32x16(p, s)       store_stride_f32x16(p, s, v)     every s-th element
 *   gather_f32x16(p, i)            scatter_f32x16(p, i, v)          p[i[lane]]
 *   splat_f32x16(x)  select_f32x16(m, a, b)  sum_f32x16(v)  bits_u32_f32(x)                                */
#include "codegen/c.h"
#include "base/intern.h"
#include <stdarg.h>

CPrinter *c_printer_new(Arena *a, const Target *t) {
  CPrinter *p = NEW(a, CPrinter);
  p->arena = a;
  p->target = t;
  p->plain = t->lanes == 1;
  return p;
}

const char *c_helper(CPrinter *p, const char *name, const char *fmt, ...) {
  if (!c_once(p, name)) return intern(name);
  va_list ap;
  va_start(ap, fmt);
  text_put(&p->helpers, arena_vprintf(p->arena, fmt, ap));
  va_end(ap);
  return intern(name);
}

static bool known(CPrinter *p, const char *name) {
  const char *s = intern(name);
  for (int i = 0; i < p->seen.len; i++)
    if (p->seen.at[i] == s) return true;
  return false;
}

static const char *name_of(const char *stem, DType t, int lanes) {
  char s[96];
  snprintf(s, sizeof s, "%s_%s", stem, c_suffix(t, lanes));
  return intern(s);
}

/* "f32x16" of a storage type: narrow floats move as their bits */
static DType moved(DType t) {
  if (dtype_is_float(t) && t != DT_F32 && t != DT_F64) return dtype_bytes(t) == 2 ? DT_U16 : DT_U8;
  if (t == DT_I4 || t == DT_I2) return DT_I8;
  if (t == DT_U4 || t == DT_U2 || t == DT_BOOL) return DT_U8;
  return t;
}

static const char *memory_type(CPrinter *p, DType t, int lanes) {
  const char *v = c_storage_vector(p, t, lanes);
  const char *name = arena_printf(p->arena, "%s_u", v);
  if (c_once(p, name))
    text_printf(&p->types, "typedef %s %s __attribute__((vector_size(%d), aligned(%d), may_alias));\n",
                c_storage(t), name, dtype_bytes(t) * lanes, dtype_bytes(t));
  return name;
}

const char *c_load(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("load", t, lanes);
  if (known(p, name)) return name;
  const char *v = c_storage_vector(p, t, lanes), *u = memory_type(p, t, lanes);
  return c_helper(p, name, "INLINE %s %s(const %s *p) { return *(const %s *)p; }\n", v, name, c_storage(t), u);
}

const char *c_store(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("store", t, lanes);
  if (known(p, name)) return name;
  const char *v = c_storage_vector(p, t, lanes), *u = memory_type(p, t, lanes);
  return c_helper(p, name, "INLINE void %s(%s *p, %s v) { *(%s *)p = v; }\n", name, c_storage(t), v, u);
}

/* "f(0), f(1), …" for the lanes; fmt has one %d or two */
static const char *lanes_list(CPrinter *p, int lanes, const char *sep, const char *before, const char *after) {
  Text t = {0};
  size_t line = 0;
  for (int i = 0; i < lanes; i++) {
    if (i) text_put(&t, sep);
    if (t.len - line > 80) { text_put(&t, "\n    "); line = t.len; }
    else if (i) text_put(&t, " ");
    text_printf(&t, "%s%d%s", before, i, after);
  }
  const char *s = arena_strdup(p->arena, t.at);
  text_free(&t);
  return s;
}

const char *c_load_stride(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("load_stride", t, lanes);
  if (known(p, name)) return name;
  return c_helper(p, name, "INLINE %s %s(const %s *p, int64_t s) {\n  return (%s){\n    %s};\n}\n",
                  c_storage_vector(p, t, lanes), name, c_storage(t), c_storage_vector(p, t, lanes),
                  lanes_list(p, lanes, ",", "p[", " * s]"));
}

const char *c_store_stride(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("store_stride", t, lanes);
  if (known(p, name)) return name;
  return c_helper(p, name, "INLINE void %s(%s *p, int64_t s, %s v) {\n"
                           "  for (int i = 0; i < %d; i++) p[i * s] = v[i];\n}\n", name,
                  c_storage(t), c_storage_vector(p, t, lanes), lanes);
}

const char *c_gather(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("gather", t, lanes);
  if (known(p, name)) return name;
  const char *v = c_storage_vector(p, t, lanes), *i = c_storage_vector(p, DT_I64, lanes);
  return c_helper(p, name, "INLINE %s %s(const %s *p, %s i) {\n  return (%s){\n    %s};\n}\n", v, name,
                  c_storage(t), i, v, lanes_list(p, lanes, ",", "p[i[", "]]"));
}

const char *c_scatter(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("scatter", t, lanes);
  if (known(p, name)) return name;
  const char *v = c_storage_vector(p, t, lanes), *i = c_storage_vector(p, DT_I64, lanes);
  return c_helper(p, name, "INLINE void %s(%s *p, %s i, %s v) {\n  for (int k = 0; k < %d; k++) p[i[k]] = v[k];\n"
                           "}\n", name,
                  c_storage(t), i, v, lanes);
}

/* x - 0 is x for every x, -0 and NaN included, so compilers drop it and broadcast. */
const char *c_splat(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("splat", t, lanes);
  if (known(p, name)) return name;
  const char *v = c_storage_vector(p, t, lanes);
  return c_helper(p, name, "INLINE %s %s(%s x) { return x - (%s){0}; }\n", v, name, c_storage(t), v);
}

const char *c_select(CPrinter *p, DType t, int lanes) {
  t = moved(t);
  const char *name = name_of("select", t, lanes);
  if (known(p, name)) return name;
  DType i = c_int_of(c_bits(t));
  const char *v = c_storage_vector(p, t, lanes), *m = c_storage_vector(p, i, lanes);
  if (t == i)
    return c_helper(p, name, "INLINE %s %s(%s m, %s a, %s b) { return (m & a) | (~m & b); }\n", v, name, m, v, v);
  return c_helper(p, name, "INLINE %s %s(%s m, %s a, %s b) { return (%s)((m & (%s)a) | (~m & (%s)b)); }\n", v, name,
                  m, v, v, v, m, m);
}

/* Halves are combined until one lane is left: the order the interpreter uses. */
const char *c_reduce(CPrinter *p, ScalarOp op, DType t, int lanes) {
  static const char *const stem[SCALAR_COUNT] =
      {[S_ADD] = "sum", [S_MUL] = "product", [S_MAX] = "maximum", [S_MIN] = "minimum"};
  const char *name = name_of(stem[op], t, lanes);
  if (known(p, name)) return name;
  const char *v = c_storage_vector(p, t, lanes);
  int half = lanes / 2;
  const char *h = c_storage_vector(p, t, half);
  const char *fold;
  const char *lo = half > 1 ? "u.h[0]" : "v[0]", *hi = half > 1 ? "u.h[1]" : "v[1]";
  if (op == S_ADD || op == S_MUL) fold = arena_printf(p->arena, "%s %s %s", lo, op == S_ADD ? "+" : "*", hi);
  else fold = arena_printf(p->arena, "%s(%s, %s)", c_math(p, op, t, half), lo, hi);
  const char *scalar = c_storage(t);
  if (half == 1)
    return c_helper(p, name, "INLINE %s %s(%s v) { return %s; }\n", scalar, name, v, fold);
  return c_helper(p, name, "INLINE %s %s(%s v) {\n  union { %s v; %s h[2]; } u = {v};\n  return %s(%s);\n}\n",
                  scalar, name, v, v, h, c_reduce(p, op, t, half), fold);
}

/* part_f32x4_f32x8(v, 1): the upper half; part_f32_f32x8(v, 3): a lane */
const char *c_part(CPrinter *p, DType t, int lanes, int of) {
  t = moved(t);
  const char *name = intern(arena_printf(p->arena, "part_%s_%s", c_suffix(t, lanes), c_suffix(t, of)));
  if (known(p, name)) return name;
  const char *v = c_storage_vector(p, t, of), *part = lanes > 1 ? c_storage_vector(p, t, lanes) : c_storage(t);
  if (lanes == 1) return c_helper(p, name, "INLINE %s %s(%s v, int i) { return v[i]; }\n", part, name, v);
  return c_helper(p, name, "INLINE %s %s(%s v, int i) {\n  union { %s v; %s part[%d]; } u = {v};\n"
                           "  return u.part[i];\n}\n", part, name, v, v, part,
                  of / lanes);
}

const char *c_bits_cast(CPrinter *p, DType to, DType from) {
  char stem[32];
  snprintf(stem, sizeof stem, "bits_%s", dtype_info[to].text);
  const char *name = name_of(stem, from, 1);
  if (known(p, name)) return name;
  return c_helper(p, name, "INLINE %s %s(%s x) {\n  %s y;\n  memcpy(&y, &x, sizeof y);\n  return y;\n}\n",
                  c_storage(to), name, c_storage(from), c_storage(to));
}

const char *c_lanewise(CPrinter *p, const char *scalar, DType t, int lanes, int arity) {
  const char *name = arena_printf(p->arena, "%s_x%d", scalar, lanes);
  if (known(p, name)) return intern(name);
  const char *v = c_storage_vector(p, t, lanes);
  if (arity == 1)
    return c_helper(p, name, "INLINE %s %s(%s a) {\n  for (int i = 0; i < %d; i++) a[i] = %s(a[i]);\n  return a;\n"
                             "}\n", v, name, v, lanes, scalar);
  return c_helper(p, name, "INLINE %s %s(%s a, %s b) {\n  for (int i = 0; i < %d; i++) a[i] = %s(a[i], b[i]);\n"
                           "  return a;\n}\n", v, name, v, v,
                  lanes, scalar);
}
