/* Narrow floats in the emitted C: bits in memory, float in expressions. f16 and bf16 convert with integer
 * operations that work on a scalar and on a vector alike; the 8- and 4-bit floats go lane by lane through one
 * formula (see ir/dtype.c, whose table of layouts this one repeats in the terms of the formula). */
#include "codegen/c.h"
#include "base/intern.h"

typedef struct Layout { int mantissa, emin; unsigned sign, max; int inf, nan; bool unsigned_zero; } Layout;
static const Layout layouts[DT_COUNT] = {
  [DT_F8E4M3FN]   = {3,  -6, 0x80, 0x7e, -1,   0x7f, false},
  [DT_F8E4M3FNUZ] = {3,  -7, 0x80, 0x7f, -1,   0x80, true},
  [DT_F8E5M2]     = {2, -14, 0x80, 0x7b, 0x7c, 0x7e, false},
  [DT_F8E5M2FNUZ] = {2, -15, 0x80, 0x7f, -1,   0x80, true},
  [DT_F4E2M1]     = {1,   0, 0x8,  0x7,  -1,   -1,   false},
};

/* Text with @ placeholders: F float type, U its 32-bit unsigned type, N the narrow unsigned type, f(…) and
 * u(…) reinterpret, n(…) and w(…) convert to N and U, m(…) makes a U mask of a comparison. */
static const char *expand(CPrinter *p, const char *text, int lanes) {
  const char *F = c_type(p, DT_F32, lanes), *U = c_type(p, DT_U32, lanes), *N = c_type(p, DT_U16, lanes);
  Text t = {0};
  for (const char *s = text; *s; s++) {
    if (*s != '@') { text_bytes(&t, s, 1); continue; }
    switch (*++s) {
    case 'F': text_put(&t, F); break;
    case 'U': text_put(&t, U); break;
    case 'N': text_put(&t, N); break;
    case 'f': if (lanes > 1) text_printf(&t, "(%s)", F); else text_put(&t, c_bits_cast(p, DT_F32, DT_U32)); break;
    case 'u': if (lanes > 1) text_printf(&t, "(%s)", U); else text_put(&t, c_bits_cast(p, DT_U32, DT_F32)); break;
    case 'm': text_put(&t, lanes > 1 ? arena_printf(p->arena, "(%s)", U) : "-(uint32_t)"); break;
    case 'n': text_put(&t, lanes > 1 ? "__builtin_convertvector" : "(uint16_t)"); break;
    case 'w': text_put(&t, lanes > 1 ? "__builtin_convertvector" : "(uint32_t)"); break;
    case '>': text_put(&t, lanes > 1 ? arena_printf(p->arena, ", %s", *++s == 'N' ? N : U) : (s++, "")); break;
    }
  }
  const char *r = arena_strdup(p->arena, t.at);
  text_free(&t);
  return r;
}

static const char *const bf16_widen = "  return @f(@w(x@>U) << 16);\n";
static const char *const bf16_narrow =
  "  @U u = @u(x), nan = @m((u & 0x7fffffffu) > 0x7f800000u);\n"
  "  @U r = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;      /* nearest, ties to even */\n"
  "  return @n((nan & (u >> 16 | 0x40u)) | (~nan & r)@>N);\n";

/* Scaling by 2^112 moves the exponent's bias and makes subnormals normal. */
static const char *const f16_widen =
  "  @U u = @w(x@>U), e = (u & 0x7fffu) << 13;\n"
  "  @U r = @u(@f(e) * 0x1p112f);\n"
  "  r |= @m(e >= 0x0f800000u) & 0x7f800000u;          /* infinity and NaN */\n"
  "  return @f(r | (u & 0x8000u) << 16);\n";
/* Below 2^-14 adding 0.5 rounds at the unit of an f16 subnormal. */
static const char *const f16_narrow =
  "  @U u = @u(x), a = u & 0x7fffffffu;\n"
  "  @U normal = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;\n"
  "  @U tiny = @u(@f(a) + 0.5f) - 0x3f000000u;\n"
  "  @U small = @m(a < 0x38800000u), big = @m(a >= 0x47800000u), nan = @m(a > 0x7f800000u);\n"
  "  @U r = (small & tiny) | (~small & normal);\n"
  "  r = (big & 0x7c00u) | (~big & r) | (nan & 0x200u);\n"
  "  return @n(r | (u >> 16 & 0x8000u)@>N);\n";

static const char *name_of(CPrinter *p, DType t, int lanes, bool widen) {
  const char *n = dtype_info[t].text;
  const char *s = widen ? arena_printf(p->arena, "f32_of_%s", n) : arena_printf(p->arena, "%s_of_f32", n);
  return intern(lanes > 1 ? arena_printf(p->arena, "%sx%d", s, lanes) : s);
}

static const char *widen_small(CPrinter *p, DType t, const char *name) {
  if (t == DT_F8E8M0)
    return c_helper(p, name, "INLINE float %s(uint8_t x) { return x == 255 ? NAN : ldexpf(1.0f, x - 127); }\n", name);
  const Layout *l = &layouts[t];
  Text t1 = {0};
  text_printf(&t1, "INLINE float %s(uint8_t x) {\n", name);
  text_printf(&t1, "  int code = x & 0x%x, e = code >> %d, q = code & %d;\n", l->sign - 1, l->mantissa,
              (1 << l->mantissa) - 1);
  if (l->unsigned_zero) text_printf(&t1, "  if (x == 0x%x) return NAN;\n", (unsigned)l->nan);
  else if (l->inf >= 0) text_printf(&t1, "  if (code > 0x%x) return NAN;\n", (unsigned)l->inf);
  else if (l->nan >= 0) text_printf(&t1, "  if (code == 0x%x) return NAN;\n", (unsigned)l->nan);
  text_printf(&t1, "  float v = e ? ldexpf((float)(q + %d), e + %d) : ldexpf((float)q, %d);\n", 1 << l->mantissa,
              l->emin - l->mantissa - 1, l->emin - l->mantissa);
  if (l->inf >= 0) text_printf(&t1, "  if (code == 0x%x) v = HUGE_VALF;\n", (unsigned)l->inf);
  text_printf(&t1, "  return x & 0x%x ? -v : v;\n}\n", l->sign);
  const char *r = c_helper(p, name, "%s", t1.at);
  text_free(&t1);
  return r;
}

static const char *narrow_small(CPrinter *p, DType t, const char *name) {
  if (t == DT_F8E8M0)
    return c_helper(p, name,
      "INLINE uint8_t %s(float x) {                         /* powers of two, to the nearest */\n  int e;\n"
      "  if (!(x > 0) || x >= 0x1.8p127f) return 255;\n  e = frexpf(x, &e) >= 0.75f ? e + 127 : e + 126;\n"
      "  return (uint8_t)(e < 0 ? 255 : e > 254 ? 254 : e);\n}\n", name);
  const Layout *l = &layouts[t];
  Text t1 = {0};
  int beyond = l->inf >= 0 ? l->inf : l->nan >= 0 ? l->nan : (int)l->max;
  text_printf(&t1,
              "INLINE uint8_t %s(float x) {\n"
              "  int e, code = 0x%x, sign = x < 0 || (x == 0 && 1 / x < 0) ? 0x%x : 0;\n",
              name, (unsigned)beyond, l->sign);
  text_printf(&t1, "  if (x != x) return 0x%x;\n", l->nan >= 0 ? (unsigned)l->nan : 0u);
  text_put(&t1, "  x = fabsf(x);\n  if (x < 0x1p20f) {\n    frexpf(x, &e);\n");
  text_printf(&t1, "    e = e - 1 < %d || x == 0 ? %d : e - 1;\n", l->emin, l->emin);
  text_printf(&t1, "    code = (e - %d) * %d + (int)nearbyintf(ldexpf(x, %d - e));\n", l->emin, 1 << l->mantissa,
              l->mantissa);
  text_printf(&t1, "    if (code > 0x%x) code = 0x%x;\n  }\n", l->max, (unsigned)beyond);
  if (l->unsigned_zero)
    text_printf(&t1, "  return (uint8_t)(code == 0 || code == 0x%x ? code : sign | code);     /* no -0: that code is NaN */\n}\n", (unsigned)beyond);
  else text_put(&t1, "  return (uint8_t)(sign | code);\n}\n");
  const char *r = c_helper(p, name, "%s", t1.at);
  text_free(&t1);
  return r;
}

static bool seen(CPrinter *p, const char *name) {
  for (int i = 0; i < p->seen.len; i++)
    if (p->seen.at[i] == name) return true;
  return false;
}

static const char *convert(CPrinter *p, DType t, int lanes, bool widen) {
  const char *name = name_of(p, t, lanes, widen);
  if (seen(p, name)) return name;
  if (t == DT_F16 || t == DT_BF16) {
    const char *body = expand(p, t == DT_F16 ? (widen ? f16_widen : f16_narrow) : (widen ? bf16_widen : bf16_narrow),
                              lanes);
    const char *to = c_type(p, widen ? DT_F32 : DT_U16, lanes), *from = c_type(p, widen ? DT_U16 : DT_F32, lanes);
    return c_helper(p, name, "INLINE %s %s(%s x) {\n%s}\n", to, name, from, body);
  }
  if (lanes == 1) return widen ? widen_small(p, t, name) : narrow_small(p, t, name);
  const char *one = convert(p, t, 1, widen);
  const char *to = c_type(p, widen ? DT_F32 : DT_U8, lanes), *from = c_type(p, widen ? DT_U8 : DT_F32, lanes);
  return c_helper(p, name, "INLINE %s %s(%s x) {\n  %s r;\n  for (int i = 0; i < %d; i++) r[i] = %s(x[i]);\n"
                           "  return r;\n}\n", to, name, from, to,
                  lanes, one);
}

const char *c_widen(CPrinter *p, DType narrow, int lanes) { return convert(p, narrow, lanes, true); }
const char *c_narrow(CPrinter *p, DType narrow, int lanes) { return convert(p, narrow, lanes, false); }
