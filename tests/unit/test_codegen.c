/* Emitted C against the loop interpreter: for every scalar function, element type and number of lanes a small
 * kernel is built, printed, compiled (all of a test in one shared library) and run on values that hurt:
 * -0, infinities, NaN, denormals, the ends of every integer type. Then casts, narrow floats in all their codes,
 * gathers, strides, reductions, masks of every width. */
#include "codegen/c.h"
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { N = 48, MAX_KERNELS = 3000 };

typedef struct Suite {
  Arena a;
  CPrinter *p;
  Text code;
  Kernel *k[MAX_KERNELS];
  double tolerance[MAX_KERNELS];           /* relative; 0: the same bits (NaNs are alike) */
  int n;
} Suite;

static Suite *suite_new(const char *target, int lanes) {
  Suite *s = calloc(1, sizeof *s);
  static Target t;
  t = *target_find(target);
  if (lanes) t.lanes = lanes;
  s->p = c_printer_new(&s->a, &t);
  return s;
}

static void add(Suite *s, Kernel *k, double tolerance) {
  kernel_finish(k);
  Diags d = {0};
  cr_assert(kernel_verify(k, &d), "%s: %s", k->name, d.len ? d.at[0].text : "?");
  char name[32];
  snprintf(name, sizeof name, "k%d", s->n);
  c_kernel(s->p, &s->code, k, name, false);
  s->tolerance[s->n] = tolerance;
  s->k[s->n++] = k;
}

/* ---- data ---- */

static const double hard_floats[] = {0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5,
                                     3.25, 1e-3, -1e-3, 7, -7, 100.25, -42, 0.999, 12345.5,
                                     1e-40, -1e-40, 1e10, -1e10, HUGE_VAL, -HUGE_VAL, (double)NAN, 3, -3,
                                     0.1, -0.75, 88, -88, 20, -20};
static const int64_t hard_ints[] = {0, 1, -1, 2, -2, 3, -3, 5, 7, -7, 10, 31, 32, 33, 63, 64, 100, 127, -128, 128,
                                    255, 256, 32767, -32768, 65535, INT32_MAX, INT32_MIN, (int64_t)INT32_MAX + 1,
                                    INT64_MAX, INT64_MIN, 1000003, -1000003};

static void fill(Tensor *t, int salt) {
  int64_t n = tensor_count(t);
  uint64_t r = 88172645463325252u + (uint64_t)salt;
  bool narrow = dtype_is_float(t->dtype) && dtype_bytes(t->dtype) < 4;
  if (narrow && n == (t->dtype == DT_F4E2M1 ? 16 : dtype_bytes(t->dtype) == 2 ? 65536 : 256)) {      // every code
    for (int64_t i = 0; i < n; i++)
      dtype_bytes(t->dtype) == 2 ? (((uint16_t *)t->data)[i] = (uint16_t)i)
                                 : (((uint8_t *)t->data)[i] = (uint8_t)i);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    r ^= r << 13; r ^= r >> 7; r ^= r << 17;
    if (t->dtype == DT_BOOL) tensor_set_int(t, i, (int64_t)(r >> 20 & 1));
    else if (dtype_is_float(t->dtype)) {
      int nf = sizeof hard_floats / sizeof *hard_floats;
      tensor_set(t, i, salt == 0 && i < nf ? hard_floats[i] : hard_floats[(r >> 17) % (uint64_t)nf]);
    } else {
      int ni = sizeof hard_ints / sizeof *hard_ints;
      tensor_set_int(t, i, salt == 0 && i < ni ? hard_ints[i] : hard_ints[(r >> 17) % (uint64_t)ni]);
    }
  }
}

/* ---- building ---- */

typedef struct Loop { Builder b; Kernel *k; Buf *in[3], *out; Expr *at; } Loop;

static void op_begin(Suite *s, Loop *o, const char *name, const DType *in, int nin, DType out, int n, int lanes) {
  o->k = kernel_new(&o->b, &s->a, name);
  for (int i = 0; i < nin; i++) o->in[i] = kernel_buf(&o->b, "x", in[i], BUF_IN, DIM(n), 0);
  o->out = kernel_buf(&o->b, "y", out, BUF_OUT, DIM(n), 0);
  Expr *i = loop_begin(&o->b, "i", ex_int(&o->b, 0), ex_int(&o->b, n), lanes, FOR_SEQ);
  o->at = lanes > 1 ? ex_ramp(&o->b, i, 1, lanes) : i;
}

static void op_end(Suite *s, Loop *o, Expr *value, double tolerance) {
  st_store(&o->b, o->out, o->at, value);
  loop_end(&o->b);
  add(s, o->k, tolerance);
}

static const char *label(Suite *s, const char *a, DType t, int lanes) {
  return arena_printf(&s->a, "%s_%s_%d", a, dtype_info[t].text, lanes);
}

/* ---- compiling and comparing ---- */

static void *compile(Suite *s, const char *level, const char *flags) {
  Text file = {0};
  text_put(&file, "#include <math.h>\n#include <stdint.h>\n#include <string.h>\n");
  c_prelude(s->p, &file);
  text_bytes(&file, s->code.at, s->code.len);
  char dir[] = "/tmp/lathe-test-XXXXXX", path[100], so[100], cmd[700], why[200];
  cr_assert(mkdtemp(dir) != NULL);
  snprintf(path, sizeof path, "%s/t.c", dir);
  snprintf(so, sizeof so, "%s/t.so", dir);
  cr_assert(text_save(&file, path, why, sizeof why), "%s", why);
  snprintf(cmd, sizeof cmd, "cc %s -shared -fPIC -fwrapv -Wall -Wextra -Wno-psabi -Werror %s -o %s %s -lm", level,
           flags, so, path);
  int rc = system(cmd);
  cr_assert(rc == 0, "the emitted C does not compile: %s", path);
  void *h = dlopen(so, RTLD_NOW);
  cr_assert(h != NULL, "%s", dlerror());
  remove(path);
  remove(so);
  rmdir(dir);
  return h;
}

static bool alike(const Tensor *x, const Tensor *y, int64_t i, double tolerance) {
  if (!dtype_is_float(x->dtype)) return tensor_get_int(x, i) == tensor_get_int(y, i);
  double a = tensor_get(x, i), b = tensor_get(y, i);
  if (isnan(b) && a == 0 && tolerance > 1e-6) return true;     // silu(-inf) and its like: vecmath gives the limit
  if (isnan(a) || isnan(b)) return isnan(a) && isnan(b);
  if (a == b) return tolerance > 0 || signbit(a) == signbit(b);
  return fabs(a - b) <= tolerance * fmax(fabs(a), fabs(b)) + tolerance * 1e-6;
}

static void run(Suite *s, const char *level, const char *flags) {
  void *h = compile(s, level, flags);
  int failures = 0;
  for (int n = 0; n < s->n; n++) {
    Kernel *k = s->k[n];
    Memory want[6], got[6];
    Tensor *out[2] = {0};
    for (int i = 0; i < k->bufs.len; i++) {
      Buf *b = k->bufs.at[i];
      if (b->role == BUF_LOCAL) continue;
      Tensor *t = tensor_new(&s->a, b->dtype, 1, &b->size.k);
      if (b->role == BUF_IN) {
        fill(t, b->index);
        want[b->index] = got[b->index] = (Memory){t->data, b->size.k};
      } else {
        out[0] = t;
        out[1] = tensor_new(&s->a, b->dtype, 1, &b->size.k);
        want[b->index] = (Memory){out[0]->data, b->size.k};
        got[b->index] = (Memory){out[1]->data, b->size.k};
      }
    }
    Diags d = {0};
    bool ok = kernel_run(k, want, NULL, &d);
    cr_assert(ok, "%s: %s", k->name, d.len ? d.at[0].text : "?");
    char name[32];
    snprintf(name, sizeof name, "k%d", n);
    void *sym = dlsym(h, name);
    if (k->bufs.len - (k->bufs.at[k->bufs.len - 1]->role == BUF_LOCAL) == 2) {
      void (*f)(void *, void *);
      memcpy(&f, &sym, sizeof f);
      f(got[0].data, got[1].data);
    } else if (k->bufs.len == 3) {
      void (*f)(void *, void *, void *);
      memcpy(&f, &sym, sizeof f);
      f(got[0].data, got[1].data, got[2].data);
    } else {
      void (*f)(void *, void *, void *, void *);
      memcpy(&f, &sym, sizeof f);
      f(got[0].data, got[1].data, got[2].data, got[3].data);
    }
    for (int64_t i = 0; i < tensor_count(out[0]); i++) {
      if (alike(out[1], out[0], i, s->tolerance[n])) continue;
      const Tensor in = {.dtype = k->bufs.at[0]->dtype, .rank = 0, .data = want[0].data};
      fprintf(stderr, "%s: element %lld is %.9g, not %.9g; first input %.9g\n", k->name, (long long)i,
              tensor_get(out[1], i), tensor_get(out[0], i), tensor_get(&in, i));
      failures++;
      break;
    }
  }
  dlclose(h);
  cr_expect(failures == 0, "%d of %d kernels differ", failures, s->n);
  arena_free(&s->a);
  free(s);
}

/* ---- tests ---- */

/* Functions computed by a formula of their own differ from the definition in the last bits. */
static double tolerance_of(ScalarOp op, DType t) {
  if (!dtype_is_float(t)) return 0;
  switch (op) {
  case S_ADD: case S_SUB: case S_MUL: case S_DIV: case S_NEG: case S_SQRT: case S_RECIP:
    return t == DT_F32 ? 1e-7 : 1e-15;
  case S_MIN: case S_MAX: case S_RELU: return 1e-12;           // of -0 and 0 either
  case S_ABS: case S_FLOOR: case S_CEIL: case S_TRUNC: case S_ROUND: case S_WHERE: return 0;
  default: return t == DT_F32 ? 2e-5 : 1e-12;
  }
}

static void all_scalars(Suite *s, const DType *types, int ntypes, const int *lanes, int nlanes) {
  for (int op = 0; op < SCALAR_COUNT; op++)
    for (int t = 0; t < ntypes; t++)
      for (int l = 0; l < nlanes; l++) {
        const ScalarInfo *info = &scalar_info[op];
        if (!scalar_takes(info->domain, types[t])) continue;
        bool is_int = dtype_is_int(types[t]);
        if (is_int && op == S_POW && lanes[l] > 1) continue;
        Loop o = {0};
        DType in[3] = {types[t], types[t], types[t]};
        if (op == S_WHERE) in[0] = DT_BOOL;
        op_begin(s, &o, label(s, info->text, types[t], lanes[l]), in, info->arity,
                 info->gives_bool ? DT_BOOL : types[t], N, lanes[l]);
        Expr *x[3] = {0};
        for (int k = 0; k < info->arity; k++) x[k] = ex_load(&o.b, o.in[k], o.at);
        op_end(s, &o, ex_scalar(&o.b, (ScalarOp)op, x[0], x[1], x[2]), tolerance_of((ScalarOp)op, types[t]));
      }
}

static const DType most[] = {DT_F32, DT_F64, DT_I8, DT_U8, DT_I16, DT_I32, DT_U32, DT_I64, DT_U64, DT_BOOL};
enum { MOST = sizeof most / sizeof *most };

Test(codegen, scalars_as_vectors) {
  Suite *s = suite_new("native", 0);
  if (s->p->plain) cr_skip_test("no vectors here");
  const int lanes[] = {1, 8};
  all_scalars(s, most, MOST, lanes, 2);
  run(s, "-O1", "-ffp-contract=off -march=native -fno-math-errno -fno-trapping-math");
}

Test(codegen, scalars_in_plain_c99) {
  Suite *s = suite_new("c99", 0);
  const int lanes[] = {1};
  all_scalars(s, most, MOST, lanes, 1);
  run(s, "-O0", "-std=c99 -pedantic");
}

static void all_casts(Suite *s, int lanes) {
  static const DType types[] = {DT_F32, DT_F64, DT_F16, DT_BF16, DT_F8E4M3FN, DT_F8E5M2FNUZ, DT_F4E2M1,
                                DT_I8, DT_U8, DT_I16, DT_U16, DT_I32, DT_U32, DT_I64,
                                DT_U64, DT_I4, DT_U4, DT_I2, DT_U2, DT_BOOL};
  enum { TYPES = sizeof types / sizeof *types };
  for (int f = 0; f < TYPES; f++)
    for (int t = 0; t < TYPES; t++) {
      if (f % 3 != t % 3) continue;                            // a third of the pairs, every type both ways
      Loop o = {0};
      // beyond the integer: undefined in C
      bool wild = dtype_is_float(types[f]) && !dtype_is_float(types[t]) && types[t] != DT_BOOL;
      DType in[1] = {types[f]};
      char name[64];
      snprintf(name, sizeof name, "cast_%s_%s", dtype_info[types[f]].text, dtype_info[types[t]].text);
      op_begin(s, &o, label(s, name, types[t], lanes), in, 1, types[t], N, lanes);
      Expr *x = ex_load(&o.b, o.in[0], o.at);
      if (wild) {                                              // into 0..1.5
        Expr *one = ex_const(&o.b, x->elem, 1), *zero = ex_const(&o.b, x->elem, 0);
        x = ex_select(&o.b, ex_scalar(&o.b, S_GT, x, zero, NULL), ex_min(&o.b, x, one), zero);
        x = ex_add(&o.b, x, ex_const(&o.b, x->elem, 0.5));
      }
      op_end(s, &o, ex_cast(&o.b, types[t], x), dtype_is_float(types[t]) ? 1e-12 : 0);
    }
}

Test(codegen, casts) {
  Suite *s = suite_new("native", 0);
  if (s->p->plain) cr_skip_test("no vectors here");
  all_casts(s, 1);
  all_casts(s, 16);
  run(s, "-O0", "-march=native");
}

Test(codegen, casts_in_plain_c99) {
  Suite *s = suite_new("c99", 0);
  all_casts(s, 1);
  run(s, "-O0", "-std=c99 -pedantic");
}

/* Every code of every narrow float: widened exactly, and back to the same code. */
static void all_codes(Suite *s, int lanes) {
  static const DType types[] = {DT_F16, DT_BF16, DT_F8E4M3FN, DT_F8E4M3FNUZ,
                                DT_F8E5M2, DT_F8E5M2FNUZ, DT_F8E8M0, DT_F4E2M1};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    DType bits = dtype_bytes(types[t]) == 2 ? DT_U16 : DT_U8;
    int n = types[t] == DT_F4E2M1 ? 16 : bits == DT_U16 ? 65536 : 256;
    Builder b;
    Kernel *k = kernel_new(&b, &s->a, label(s, "codes", types[t], lanes));
    Buf *x = kernel_buf(&b, "x", types[t], BUF_IN, DIM(n), 0), *y = kernel_buf(&b, "y", DT_F32, BUF_OUT, DIM(n), 0);
    Expr *i = loop_begin(&b, "i", ex_int(&b, 0), ex_int(&b, n), lanes, FOR_SEQ),
         *at = lanes > 1 ? ex_ramp(&b, i, 1, lanes) : i;
    st_store(&b, y, at, ex_load(&b, x, at));
    loop_end(&b);
    add(s, k, 0);
    Loop o = {0};
    op_begin(s, &o, label(s, "codes_back", types[t], lanes), &types[t], 1, types[t], n, lanes);
    op_end(s, &o, ex_load(&o.b, o.in[0], o.at), 0);
  }
}

Test(codegen, narrow_floats) {
  Suite *s = suite_new("native", 0);
  if (s->p->plain) cr_skip_test("no vectors here");
  all_codes(s, 1);
  all_codes(s, 16);
  run(s, "-O0", "-march=native");
}

static void vector_forms(Suite *s, int lanes) {
  static const DType types[] = {DT_F32, DT_F64, DT_I8, DT_I32, DT_I64, DT_BOOL};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    DType in[2] = {types[t], DT_U8};
    for (int form = 0; form < 4; form++) {                     // strides, gathers, scatters, reversal
      static const char *const names[] = {"stride", "gather", "scatter", "reverse"};
      Loop o = {0};
      op_begin(s, &o, label(s, names[form], types[t], lanes), in, 1, types[t], 64, lanes);
      Builder *b = &o.b;
      Expr *i = loop_begin(b, "k", ex_int(b, 0), ex_int(b, 1), 1, FOR_SEQ), *base = o.at->arg[0], *mixed;
      (void)i;
      mixed = ex_rem(b, ex_mul(b, o.at, ex_int(b, 5)), ex_int(b, 64));
      if (form == 0) st_store(b, o.out, o.at, ex_load(b, o.in[0], ex_ramp(b, ex_div(b, base, ex_int(b, 4)), 3, lanes)));
      if (form == 1) st_store(b, o.out, o.at, ex_load(b, o.in[0], mixed));
      if (form == 2) st_store(b, o.out, mixed, ex_load(b, o.in[0], o.at));
      if (form == 3)
        st_store(b, o.out, ex_ramp(b, ex_sub(b, ex_int(b, 63), base), -1, lanes), ex_load(b, o.in[0], o.at));
      loop_end(b);
      loop_end(b);
      add(s, o.k, 0);
    }
    if (types[t] == DT_BOOL) continue;
    static const ScalarOp ops[] = {S_ADD, S_MUL, S_MAX, S_MIN};
    for (int r = 0; r < 4; r++) {
      Loop o = {0};
      op_begin(s, &o, label(s, "reduce", types[t], lanes), in, 1, types[t], 64, lanes);
      Expr *x = ex_load(&o.b, o.in[0], o.at);
      if (dtype_is_float(types[t]))
        x = ex_min(&o.b, ex_const(&o.b, types[t], 2), ex_max(&o.b, ex_const(&o.b, types[t], -1), x));
      op_end(s, &o, ex_reduce(&o.b, ops[r], x), 1e-6);
    }
    Loop o = {0};                                                // masks across widths
    op_begin(s, &o, label(s, "mask", types[t], lanes), in, 2, types[t], 64, lanes);
    Expr *x = ex_load(&o.b, o.in[0], o.at), *y = ex_load(&o.b, o.in[1], o.at);
    Expr *c = ex_scalar(&o.b, S_AND, ex_lt(&o.b, x, ex_const(&o.b, x->elem, 3)),
                        ex_scalar(&o.b, S_GT, y, ex_const_int(&o.b, DT_U8, 100), NULL), NULL);
    c = ex_scalar(&o.b, S_OR, c, ex_lt(&o.b, o.at, ex_int(&o.b, 20)), NULL);
    c = ex_scalar(&o.b, S_XOR, c,
                  ex_scalar(&o.b, S_NOT, ex_scalar(&o.b, S_EQ, y, ex_const_int(&o.b, DT_U8, 7), NULL), NULL, NULL),
                  NULL);
    op_end(s, &o, ex_select(&o.b, c, x, ex_const(&o.b, x->elem, 9)), 0);
    Loop f = {0};
    op_begin(s, &f, label(s, "fma", types[t], lanes), in, 1, types[t], 64, lanes);
    if (dtype_is_float(types[t])) {
      Expr *v = ex_load(&f.b, f.in[0], f.at);
      op_end(s, &f, ex_fma(&f.b, v, ex_const(&f.b, types[t], 2), ex_const(&f.b, types[t], -3)), 1e-6);
    }
  }
}

Test(codegen, vectors) {
  Suite *s = suite_new("native", 0);
  if (s->p->plain) cr_skip_test("no vectors here");
  vector_forms(s, 4);
  vector_forms(s, 16);
  run(s, "-O0", "-march=native");
}

static const char *print_one(Suite *s, Kernel *k) {
  kernel_finish(k);
  Text t = {0};
  c_kernel(s->p, &t, k, "k", false);
  const char *r = arena_strdup(&s->a, t.at);
  text_free(&t);
  return r;
}

/* What the text looks like is part of the interface: few parentheses, no splats beside vectors, += . */
Test(codegen, text) {
  Suite *s = suite_new("x86-64-v3", 0);
  Builder b;
  Kernel *k = kernel_new(&b, &s->a, "axpy");
  Buf *x = kernel_buf(&b, "x", DT_F32, BUF_IN, DIM(64), 0), *y = kernel_buf(&b, "y", DT_F32, BUF_INOUT, DIM(64), 0);
  Expr *i = loop_begin(&b, "i", ex_int(&b, 0), ex_int(&b, 64), 8, FOR_SEQ), *at = ex_ramp(&b, i, 1, 8);
  Expr *v = let(&b, "v", ex_load(&b, x, at));
  Var *acc = reg(&b, "acc", ex_load(&b, y, at));
  st_set(&b, acc, ex_fma(&b, ex_const(&b, DT_F32, 0.1), v, ex_var(&b, acc)));
  st_store(&b, y, at,
           ex_scalar(&b, S_RELU, ex_mul(&b, ex_add(&b, ex_var(&b, acc), v), ex_const(&b, DT_F32, 2)), NULL, NULL));
  loop_end(&b);
  cr_assert_str_eq(print_one(s, k),
    "void k(const float *restrict x, float *restrict y) {\n"
    "  for (int64_t i = 0; i < 64; i += 8) {\n"
    "    f32x8 v = load_f32x8(x + i);\n"
    "    f32x8 acc = load_f32x8(y + i);\n"
    "    acc += 0.1f * v;\n"
    "    store_f32x8(y + i, relu_f32x8((acc + v) * 2.0f));\n"
    "  }\n"
    "}\n");
}

Test(codegen, literals) {
  Arena a = {0};
  cr_expect_str_eq(c_number(&a, DT_F32, 0.1, 0), "0.1f");
  cr_expect_str_eq(c_number(&a, DT_F32, 1, 0), "1.0f");
  cr_expect_str_eq(c_number(&a, DT_F32, -0.0, 0), "-0.0f");
  cr_expect_str_eq(c_number(&a, DT_F32, 16777216, 0), "16777216.0f");
  cr_expect_str_eq(c_number(&a, DT_F64, 1e300, 0), "1e+300");
  cr_expect_str_eq(c_number(&a, DT_F32, HUGE_VAL, 0), "HUGE_VALF");
  cr_expect_str_eq(c_number(&a, DT_I64, 0, INT64_MIN), "INT64_MIN");
  cr_expect_str_eq(c_number(&a, DT_I64, 0, 1), "1");
  cr_expect_str_eq(c_number(&a, DT_I64, 0, (int64_t)1 << 40), "INT64_C(1099511627776)");
  cr_expect_str_eq(c_number(&a, DT_U64, 0, -1), "UINT64_C(18446744073709551615)");
  arena_free(&a);
}
