/* Tensors in files: NumPy's .npy, ONNX's TensorProto (.pb), raw bytes. C99; needs nothing but libc.
 *
 * A tensor here is dense, row-major, little-endian, one element per `elem_bytes`; dtype is a name of lathe's
 * ("f32", "i64", "bf16", "u4", …). Types below one byte take a byte each: .pb packs them, they are unpacked.
 * Functions return 0, or -1 with a sentence in `why`. */
#ifndef LT_FILE_H
#define LT_FILE_H
#include <stddef.h>
#include <stdint.h>

enum { LT_MAX_RANK = 12 };

typedef struct lt_tensor {
  char dtype[16];
  int elem_bytes, rank;
  int64_t dims[LT_MAX_RANK];
  int64_t count;                     /* product of dims */
  void *data;                        /* malloc'ed */
} lt_tensor;

int lt_file_load(const char *path, lt_tensor *t, char *why, size_t why_len);     /* by the name's end: .npy or .pb */
int lt_npy_parse(const void *bytes, size_t n, lt_tensor *t, char *why, size_t why_len);
int lt_pb_parse(const void *bytes, size_t n, lt_tensor *t, char *why, size_t why_len);
int lt_npy_save(const char *path, const lt_tensor *t, char *why, size_t why_len);
/* A file of exactly count * elem_bytes bytes; t has dtype, elem_bytes, rank and dims set. */
int lt_raw_load(const char *path, lt_tensor *t, char *why, size_t why_len);
void lt_tensor_free(lt_tensor *t);

int lt_elem_bytes(const char *dtype);                        /* 0: unknown */
double lt_get(const lt_tensor *t, int64_t i);                /* element i as a double */
int lt_is_float(const char *dtype);
uint64_t lt_xxh64(const void *data, size_t n);               /* the hash in a weights file's header */
void *lt_read_file(const char *path, size_t *n, char *why, size_t why_len);      /* malloc'ed, 64 bytes aligned */
void lt_type_text(const char *dtype, int rank, const int64_t *dims, char *text, size_t n);       /* "f32[2,3]" */
/* Says why, and returns -1. */
int lt_fail(char *why, size_t n, const char *fmt, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;
#endif
