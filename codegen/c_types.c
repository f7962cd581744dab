/* Types of the emitted C. Vector types are GCC/Clang vector extensions, declared on first use: `f32x16` for
 * registers, `f32x16_u` (unaligned, may alias) for memory. */
#include "codegen/c.h"
#include "base/intern.h"

bool c_once(CPrinter *p, const char *name) {
  const char *s = intern(name);
  for (int i = 0; i < p->seen.len; i++)
    if (p->seen.at[i] == s) return false;
  *vec_push(p->arena, &p->seen) = s;
  return true;
}

int c_bits(DType t) { return dtype_bytes(t) * 8; }

DType c_int_of(int bits) { return bits == 8 ? DT_I8 : bits == 16 ? DT_I16 : bits == 32 ? DT_I32 : DT_I64; }

const char *c_storage(DType t) { return dtype_info[t].c; }

/* The element type whose C vector holds a storage type: narrow floats are their bits, sub-byte integers a byte. */
static DType vector_elem(DType t) {
  if (t == DT_F32 || t == DT_F64) return t;
  if (dtype_is_float(t)) return dtype_bytes(t) == 2 ? DT_U16 : DT_U8;
  if (t == DT_I4 || t == DT_I2) return DT_I8;
  if (t == DT_U4 || t == DT_U2 || t == DT_BOOL) return DT_U8;
  return t;
}

const char *c_suffix(DType t, int lanes) {
  char s[32];
  if (lanes > 1) snprintf(s, sizeof s, "%sx%d", dtype_info[t].text, lanes);
  else snprintf(s, sizeof s, "%s", dtype_info[t].text);
  return intern(s);
}

const char *c_storage_vector(CPrinter *p, DType t, int lanes) {
  if (lanes == 1) return c_storage(t);
  t = vector_elem(t);
  const char *name = c_suffix(t, lanes);
  if (c_once(p, name)) {
    int bytes = dtype_bytes(t) * lanes;
    text_printf(&p->types, "typedef %s %s __attribute__((vector_size(%d)));\n", dtype_info[t].c, name, bytes);
  }
  return name;
}

const char *c_type(CPrinter *p, DType t, int lanes) {
  if (t == DT_BOOL) return lanes == 1 ? "int" : c_storage_vector(p, DT_I32, lanes);
  return c_storage_vector(p, t, lanes);
}
