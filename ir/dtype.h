/* Element types, generated from dtypes.def, and tensors held by the compiler (weights, folded constants,
 * test inputs): dense, row-major, one element per `dtype_bytes`. */
#ifndef IR_DTYPE_H
#define IR_DTYPE_H
#include "base/arena.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum DType {
  DT_NONE,
#define DTYPE(E, ...) DT_##E,
#include "ir/dtypes.def"
#undef DTYPE
  DT_COUNT
} DType;

typedef enum { CLASS_NONE, CLASS_FLOAT, CLASS_INT, CLASS_UINT, CLASS_BOOL, CLASS_STRING, CLASS_COMPLEX } DClass;

typedef struct DTypeInfo {
  const char *text;
  int onnx, bits, bytes;
  DClass cls;
  DType compute;
  const char *c;
} DTypeInfo;
extern const DTypeInfo dtype_info[DT_COUNT];

static inline int dtype_bytes(DType t) { return dtype_info[t].bytes; }
static inline bool dtype_is_float(DType t) { return dtype_info[t].cls == CLASS_FLOAT; }
static inline bool dtype_is_int(DType t) { return dtype_info[t].cls == CLASS_INT || dtype_info[t].cls == CLASS_UINT; }
static inline bool dtype_is_signed(DType t) { return dtype_info[t].cls == CLASS_INT || dtype_is_float(t); }
static inline DType dtype_compute(DType t) { return dtype_info[t].compute; }
int dtype_elem(DType t);                    /* its lt_elem in runtime/lt_ops.h; 0: those functions do not take it */
DType dtype_from_onnx(int code);            /* DT_NONE when unknown */
DType dtype_from_text(const char *s);

enum { MAX_RANK = 12 };

typedef struct Tensor {
  DType dtype;
  int rank;
  int64_t dims[MAX_RANK];
  void *data;                               /* NULL: no elements, or not loaded */
} Tensor;

int64_t tensor_count(const Tensor *t);      /* number of elements */
size_t tensor_bytes(const Tensor *t);
bool tensor_same(const Tensor *a, const Tensor *b);     /* type, dims and every bit */
Tensor *tensor_new(Arena *a, DType dtype, int rank, const int64_t *dims);       /* zeroed */
Tensor *tensor_scalar(Arena *a, DType dtype, double v);
/* Element access with conversion; rounds to the tensor's type (floats: to nearest even; integers: C cast). */
double  tensor_get(const Tensor *t, int64_t i);
int64_t tensor_get_int(const Tensor *t, int64_t i);
void    tensor_set(Tensor *t, int64_t i, double v);
void    tensor_set_int(Tensor *t, int64_t i, int64_t v);

/* Narrow floats <-> float, round to nearest even, for every storage-only type. `saturate` as ONNX Cast. */
float    narrow_to_float(DType t, uint32_t bits);
uint32_t narrow_from_float(DType t, float v, bool saturate);
/* where saturating stops; 0: the type does not saturate */
double   narrow_limit(DType t);
#endif
