/* TensorProto -> Tensor and back.
 *
 * A tensor's elements come in one of three ways: raw_data (little-endian, packed), a typed list (float_data,
 * int32_data, …), or a range of another file. Where the stored form is already lathe's (4-byte floats, 8-byte
 * integers, raw bytes of whole-byte types) the decoded bytes are used as they are; everything else is converted
 * into fresh memory. Sizes are computed from dims with overflow checks and compared with what is there before
 * anything is read.
 *
 * External data must stay inside the model's own folder: absolute paths, `..` and symbolic links that lead out
 * are refused, because a model file may come from anywhere. */
#define _XOPEN_SOURCE 700                                   // realpath
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/text.h"
#include "frontend/import.h"
#include "frontend/onnx_model.h"

static bool bad(const OnnxSource *s, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool bad(const OnnxSource *s, const char *where, const char *fmt, ...) {
  char buf[700];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(buf, sizeof buf, fmt, ap);
  va_end(ap);
  diag_error(s->diags, "parse", where, "%s", buf);
  return false;
}

/* dims -> t->rank, t->dims and the number of elements; false after a message */
static bool take_dims(const OnnxSource *s, Tensor *t, size_t rank, const int64_t *dims, int64_t *count,
                      const char *where) {
  if (rank > MAX_RANK) return bad(s, where, "has %zu dimensions; lathe's limit is %d", rank, MAX_RANK);
  t->rank = (int)rank;
  bool empty = false;
  for (size_t k = 0; k < rank; k++) {
    if (dims[k] < 0) return bad(s, where, "dimension %zu is negative (%lld)", k, (long long)dims[k]);
    t->dims[k] = dims[k];
    empty |= dims[k] == 0;
  }
  *count = empty ? 0 : 1;
  for (size_t k = 0; k < rank; k++)
    if (__builtin_mul_overflow(*count, dims[k], count) || *count > INT64_MAX / 64)
      return bad(s, where, "the dimensions multiply to more than memory can hold");
  return true;
}

static void swap_elements(uint8_t *p, int64_t n, int size) {
  for (int64_t i = 0; i < n; i++, p += size)
    for (int lo = 0, hi = size - 1; lo < hi; lo++, hi--) {
      uint8_t x = p[lo];
      p[lo] = p[hi], p[hi] = x;
    }
}

static bool is_little_endian(void) { return *(const uint8_t *)&(const uint16_t){1} == 1; }

/* Raw data is little-endian; complex numbers are two halves. */
static void fix_byte_order(DType t, void *p, int64_t n) {
  if (is_little_endian()) return;
  int size = dtype_info[t].bits / 8;
  if (dtype_info[t].cls == CLASS_COMPLEX) size /= 2, n *= 2;
  if (size > 1) swap_elements(p, n, size);
}

/* Sub-byte types share bytes, the first element in the low bits. */
static int64_t packed_bytes(DType t, int64_t n) {
  int bits = dtype_info[t].bits;
  return bits >= 8 ? n * (bits / 8) : (n * bits + 7) / 8;
}

static void unpack_bits(DType t, const uint8_t *from, uint8_t *to, int64_t n) {
  int bits = dtype_info[t].bits, per = 8 / bits, mask = (1 << bits) - 1;
  bool is_signed = dtype_info[t].cls == CLASS_INT;
  for (int64_t i = 0; i < n; i++) {
    int v = from[i / per] >> (i % per * bits) & mask;
    if (is_signed && v >> (bits - 1)) v -= mask + 1;
    to[i] = (uint8_t)v;
  }
}

static void pack_bits(DType t, const uint8_t *from, uint8_t *to, int64_t n) {
  int bits = dtype_info[t].bits, per = 8 / bits, mask = (1 << bits) - 1;
  memset(to, 0, (size_t)packed_bytes(t, n));
  for (int64_t i = 0; i < n; i++) to[i / per] |= (uint8_t)((from[i] & mask) << (i % per * bits));
}

/* `bytes` (owned by the arena, in file form) become t's data. */
static void take_bytes(const OnnxSource *s, Tensor *t, void *bytes, int64_t count) {
  if (dtype_info[t->dtype].bits < 8) {
    t->data = arena_alloc(s->arena, (size_t)count);
    unpack_bits(t->dtype, bytes, t->data, count);
    return;
  }
  t->data = bytes;
  fix_byte_order(t->dtype, bytes, count);
  if (t->dtype == DT_BOOL)                                  // any byte but 0 is true
    for (int64_t i = 0; i < count; i++) ((uint8_t *)bytes)[i] = ((uint8_t *)bytes)[i] != 0;
}

/* ---- external data ---- */
static bool path_stays_inside(const char *location) {
  if (!*location || *location == '/' || *location == '\\' || strchr(location, ':')) return false;
  for (const char *p = location; *p;) {
    size_t n = strcspn(p, "/\\");
    if (n == 2 && p[0] == '.' && p[1] == '.') return false;
    p += n;
    p += *p != 0;
  }
  return true;
}

static bool parse_size(const char *text, int64_t *v) {
  char *end;
  if (!text || *text < '0' || *text > '9') return false;
  errno = 0;
  *v = strtoll(text, &end, 10);
  return !errno && !*end && *v >= 0;
}

/* The file of an external tensor; -1 after a message. The path is resolved first, so links are seen through. */
static int external_open(const OnnxSource *s, const char *location, const char *where) {
  if (!s->folder) {
    bad(s, where, "keeps its data in '%s', but this model was not read from a file", location);
    return -1;
  }
  const char *outside = "external data '%s' is outside the model's folder; lathe reads only files beside the model";
  if (!path_stays_inside(location)) {
    bad(s, where, outside, location);
    return -1;
  }
  const char *path = arena_printf(s->arena, "%s/%s", s->folder, location);
  char *folder = realpath(s->folder, NULL), *real = realpath(path, NULL);
  int fd = -1;
  if (!folder || !real) {
    bad(s, where, "cannot open external data '%s': %s", path, strerror(errno));
  } else {
    size_t n = strlen(folder);
    bool root = n == 1;
    if (strncmp(real, folder, n) || !(root || real[n] == '/'))
      bad(s, where, outside, location);
    else if ((fd = open(real, O_RDONLY | O_CLOEXEC)) < 0)
      bad(s, where, "cannot open external data '%s': %s", path, strerror(errno));
  }
  free(folder);
  free(real);
  return fd;
}

static bool read_range(int fd, void *to, int64_t n, int64_t offset) {
  for (uint8_t *p = to; n > 0;) {
    ssize_t got = pread(fd, p, n < 1 << 30 ? (size_t)n : 1u << 30, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    p += got, n -= got, offset += got;
  }
  return true;
}

static bool take_external(const OnnxSource *s, Tensor *t, const Onnx__Tensor *p, int64_t count, const char *where) {
  const char *location = NULL, *offset_text = NULL, *length_text = NULL;
  for (size_t k = 0; k < p->n_external_data; k++) {
    const Onnx__Pair *e = p->external_data[k];
    if (!e->key) continue;
    if (!strcmp(e->key, "location")) location = e->value;
    if (!strcmp(e->key, "offset")) offset_text = e->value;
    if (!strcmp(e->key, "length")) length_text = e->value;
  }
  if (!location) return bad(s, where, "is said to have external data, but names no file");
  if (t->dtype == DT_STRING) return bad(s, where, "strings cannot be external data");
  int64_t offset = 0, need = packed_bytes(t->dtype, count), length = need;
  if (offset_text && !parse_size(offset_text, &offset))
    return bad(s, where, "external data offset '%s' is not a number", offset_text);
  if (length_text && !parse_size(length_text, &length))
    return bad(s, where, "external data length '%s' is not a number", length_text);
  if (length != need)
    return bad(s, where, "external data has %lld bytes, the dimensions need %lld", (long long)length, (long long)need);
  int fd = external_open(s, location, where);
  if (fd < 0) return false;
  struct stat st;
  bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size - need >= 0 && offset <= st.st_size - need;
  if (ok) {
    void *bytes = arena_alloc(s->arena, (size_t)need);
    ok = read_range(fd, bytes, need, offset);
    if (ok) take_bytes(s, t, bytes, count);
  }
  if (!ok) bad(s, where, "external data file '%s' ends before byte %lld", location, (long long)(offset + need));
  close(fd);
  return ok;
}

/* ---- typed lists ---- */
typedef struct TypedList { const void *at; size_t n; const char *name; int bytes; } TypedList;

static TypedList typed_list(const Onnx__Tensor *p, DType t) {
  switch (t) {
  case DT_F32: case DT_C64: return (TypedList){p->float_data, p->n_float_data, "float_data", 4};
  case DT_F64: case DT_C128: return (TypedList){p->double_data, p->n_double_data, "double_data", 8};
  case DT_I64: return (TypedList){p->int64_data, p->n_int64_data, "int64_data", 8};
  case DT_U64: case DT_U32: return (TypedList){p->uint64_data, p->n_uint64_data, "uint64_data", 8};
  default: return (TypedList){p->int32_data, p->n_int32_data, "int32_data", 4};
  }
}

/* Lists whose element is wider than the type: cut each to the type's bytes; sub-byte types have a packed byte in each. */
static void narrow_list(Tensor *t, const TypedList *l, int64_t count, uint8_t *packed) {
  for (size_t i = 0; i < l->n; i++) {
    uint64_t v = l->bytes == 8 ? ((const uint64_t *)l->at)[i] : (uint64_t)((const int32_t *)l->at)[i];
    switch (dtype_bytes(t->dtype)) {
    case 4: ((uint32_t *)t->data)[i] = (uint32_t)v; break;
    case 2: ((uint16_t *)t->data)[i] = (uint16_t)v; break;
    default: packed[i] = t->dtype == DT_BOOL ? v != 0 : (uint8_t)v;
    }
  }
  if (packed != t->data) unpack_bits(t->dtype, packed, t->data, count);
}

static bool take_typed(const OnnxSource *s, Tensor *t, const Onnx__Tensor *p, int64_t count, const char *where) {
  TypedList l = typed_list(p, t->dtype);
  int64_t need = dtype_info[t->dtype].bits < 8 ? packed_bytes(t->dtype, count) : count;
  if (dtype_info[t->dtype].cls == CLASS_COMPLEX) need *= 2;
  if ((int64_t)l.n != need)
    return bad(s, where, "%s has %zu elements, the dimensions need %lld", l.name, l.n, (long long)need);
  int64_t parts = dtype_info[t->dtype].cls == CLASS_COMPLEX ? 2 : 1;
  if (l.bytes * parts == dtype_bytes(t->dtype)) {
    t->data = (void *)(uintptr_t)l.at;                      // decoded into our arena, in the form we keep
    return true;
  }
  t->data = arena_alloc(s->arena, (size_t)count * (size_t)dtype_bytes(t->dtype));
  uint8_t *packed = dtype_info[t->dtype].bits < 8 ? arena_alloc(s->arena, l.n) : t->data;
  narrow_list(t, &l, count, packed);
  return true;
}

static bool take_strings(const OnnxSource *s, Tensor *t, const Onnx__Tensor *p, int64_t count, const char *where) {
  if ((int64_t)p->n_string_data != count)
    return bad(s, where, "has %zu strings, the dimensions need %lld", p->n_string_data, (long long)count);
  const char **text = NEW_N(s->arena, const char *, count);
  for (int64_t i = 0; i < count; i++) text[i] = onnx_text(s->arena, p->string_data[i]);
  t->data = text;
  return true;
}

const Tensor *onnx_tensor(const OnnxSource *s, const Onnx__Tensor *p, const char *where) {
  Tensor *t = NEW(s->arena, Tensor);
  int64_t count;
  t->dtype = dtype_from_onnx(p->data_type);
  if (t->dtype == DT_NONE) {
    bad(s, where, "has element type %d, which lathe does not know", (int)p->data_type);
    return NULL;
  }
  if (!take_dims(s, t, p->n_dims, p->dims, &count, where)) return NULL;
  bool ok;
  if (p->data_location == 1) {
    ok = take_external(s, t, p, count, where);
  } else if (t->dtype == DT_STRING) {
    ok = take_strings(s, t, p, count, where);
  } else if (p->has_raw_data && (p->raw_data.len || !count || !typed_list(p, t->dtype).n)) {
    int64_t need = packed_bytes(t->dtype, count);
    ok = (int64_t)p->raw_data.len == need ||
         bad(s, where, "has %zu bytes of data, the dimensions need %lld", p->raw_data.len, (long long)need);
    if (ok) take_bytes(s, t, p->raw_data.data, count);
  } else {
    ok = take_typed(s, t, p, count, where);
  }
  if (!ok) return NULL;
  if (!t->data) t->data = arena_alloc(s->arena, 1);         // no elements, but loaded
  return t;
}

/* Coordinate format: values[i] stands at linear index indices[i], or at coordinates indices[i, :]. */
const Tensor *onnx_sparse_tensor(const OnnxSource *s, const Onnx__SparseTensor *p, const char *where) {
  if (!p->values || !p->indices) {
    bad(s, where, "a sparse tensor needs values and indices");
    return NULL;
  }
  const Tensor *values = onnx_tensor(s, p->values, where), *at = onnx_tensor(s, p->indices, where);
  if (!values || !at) return NULL;
  Tensor shape = {.dtype = values->dtype};
  int64_t count;
  if (!take_dims(s, &shape, p->n_dims, p->dims, &count, where)) return NULL;
  int64_t n = tensor_count(values);
  bool linear = at->rank == 1 && at->dims[0] == n;
  bool coords = at->rank == 2 && at->dims[0] == n && at->dims[1] == shape.rank;
  if (at->dtype != DT_I64 || values->rank != 1 || !(linear || coords)) {
    bad(s, where, "the sparse tensor's indices fit neither [%lld] nor [%lld, %d]", (long long)n, (long long)n,
        shape.rank);
    return NULL;
  }
  if (values->dtype == DT_STRING || count > INT32_MAX) {
    bad(s, where, count > INT32_MAX ? "the sparse tensor has over 2^31 elements" : "sparse strings are not supported");
    return NULL;
  }
  Tensor *t = tensor_new(s->arena, values->dtype, shape.rank, shape.dims);
  size_t size = (size_t)dtype_bytes(t->dtype);
  for (int64_t i = 0; i < n; i++) {
    int64_t flat = 0;
    bool inside = true;
    for (int k = 0; coords && k < shape.rank; k++) {
      int64_t c = tensor_get_int(at, i * shape.rank + k);
      inside &= c >= 0 && c < shape.dims[k];
      flat = inside ? flat * shape.dims[k] + c : 0;
    }
    if (linear) flat = tensor_get_int(at, i), inside = flat >= 0 && flat < count;
    if (!inside) {
      bad(s, where, "the sparse tensor's index %lld is outside its dimensions", (long long)i);
      return NULL;
    }
    memcpy((char *)t->data + (size_t)flat * size, (const char *)values->data + (size_t)i * size, size);
  }
  return t;
}

/* ---- files of one tensor ---- */
Tensor *onnx_load_tensor(Arena *a, const char *path, Diags *d) {
  OnnxBytes b;
  if (!onnx_bytes_open(&b, path, d)) return NULL;
  Onnx__Tensor *p = onnx_decode_tensor(a, b.at, b.len, d);
  onnx_bytes_close(&b);
  if (!p) return NULL;
  if (!p->has_data_type) {                                  // SequenceProto and OptionalProto have no such field
    diag_error(d, "unsupported", path, "not a tensor file; sequences and optionals are not supported as inputs");
    return NULL;
  }
  OnnxSource s = {a, NULL, d};
  const Tensor *t = onnx_tensor(&s, p, path);
  return t ? arena_dup(a, t, sizeof *t) : NULL;
}

bool onnx_load_list(Arena *a, const char *path, ValueKind kind, const Tensor ***at, int *n, Diags *d) {
  OnnxBytes b;
  if (!onnx_bytes_open(&b, path, d)) return false;
  bool optional = kind == KIND_OPTIONAL;
  const Onnx__Optional *o = optional ? onnx_decode_optional(a, b.at, b.len, d) : NULL;
  const Onnx__Sequence *s = optional ? (o ? o->sequence_value : NULL) : onnx_decode_sequence(a, b.at, b.len, d);
  onnx_bytes_close(&b);
  if (optional ? !o : !s) return false;
  Onnx__Tensor *const *tensor = s ? s->tensor_values : o->tensor_value ? &o->tensor_value : NULL;
  *n = s ? (int)s->n_tensor_values : o->tensor_value ? 1 : -1;
  *at = NEW_N(a, const Tensor *, *n + 2);
  OnnxSource from = {a, NULL, d};
  for (int k = 0; k < *n; k++)
    if (!((*at)[k] = onnx_tensor(&from, tensor[k], path))) return false;
  return true;
}

/* Where memory has the file's form already, the message points into the tensor. */
void onnx_tensor_message(Arena *a, const char *name, const Tensor *t, Onnx__Tensor *p) {
  int64_t count = tensor_count(t);
  onnx__tensor__init(p);
  p->n_dims = (size_t)t->rank, p->dims = (int64_t *)(uintptr_t)t->dims;
  p->has_data_type = 1, p->data_type = dtype_info[t->dtype].onnx;
  p->name = (char *)(uintptr_t)name;
  if (t->dtype == DT_STRING) {
    p->n_string_data = (size_t)count;
    p->string_data = NEW_N(a, ProtobufCBinaryData, count + 1);
    for (int64_t i = 0; i < count; i++) {
      const char *text = ((const char *const *)t->data)[i];
      p->string_data[i] = (ProtobufCBinaryData){text ? strlen(text) : 0, (uint8_t *)(uintptr_t)text};
    }
    return;
  }
  p->has_raw_data = 1;
  p->raw_data = (ProtobufCBinaryData){(size_t)packed_bytes(t->dtype, count), t->data};
  if (dtype_info[t->dtype].bits < 8) {
    p->raw_data.data = arena_alloc(a, p->raw_data.len);
    pack_bits(t->dtype, t->data, p->raw_data.data, count);
  } else if (!is_little_endian()) {
    p->raw_data.data = arena_dup(a, t->data, p->raw_data.len);
    fix_byte_order(t->dtype, p->raw_data.data, count);
  }
}

bool onnx_save_tensor(const char *path, const char *name, const Tensor *t, Diags *d) {
  Arena tmp = {0};
  Onnx__Tensor p;
  onnx_tensor_message(&tmp, name, t, &p);
  size_t n = onnx__tensor__get_packed_size(&p);
  uint8_t *bytes = arena_alloc(&tmp, n);
  onnx__tensor__pack(&p, bytes);
  char why[500];
  bool ok = file_save(bytes, n, path, why, sizeof why);
  if (!ok) diag_error(d, "io", NULL, "%s", why);
  arena_free(&tmp);
  return ok;
}
