/* An ONNX file in memory: the decoded messages and the tensors in them.
 *
 * Decoding happens in an arena, so that a tensor's raw bytes, once decoded, are the weights: nothing is copied
 * again where ONNX and lathe store a type alike. The file itself is mapped, and unmapped after decoding; what
 * stays is one copy of the weights. */
#ifndef FRONTEND_ONNX_MODEL_H
#define FRONTEND_ONNX_MODEL_H
#include "base/diag.h"
#include "frontend/onnx.pb-c.h"
#include "ir/dtype.h"

typedef enum AttrType {                /* Attribute.type in the file */
  ONNX_UNDEFINED, ONNX_FLOAT, ONNX_INT, ONNX_STRING, ONNX_TENSOR, ONNX_GRAPH, ONNX_FLOATS, ONNX_INTS,
  ONNX_STRINGS, ONNX_TENSORS, ONNX_GRAPHS, ONNX_SPARSE_TENSOR, ONNX_SPARSE_TENSORS, ONNX_TYPE, ONNX_TYPES
} AttrType;

/* A node as importers see it: in a function body, references to the caller's attributes are resolved. */
/* read: per attribute, whether the importer has asked for it. */
typedef struct OnnxNode { const Onnx__Node *proto; const Onnx__Attribute **attr; bool *read; int nattr; } OnnxNode;

/* Where tensors are made, what external data is relative to (NULL: none allowed), who hears of errors. */
typedef struct OnnxSource { Arena *arena; const char *folder; Diags *diags; } OnnxSource;

/* A file's bytes, mapped where possible. NULL after diag "io". */
typedef struct OnnxBytes { const void *at; size_t len; int mapped; } OnnxBytes;
bool onnx_bytes_open(OnnxBytes *b, const char *path, Diags *d);
void onnx_bytes_close(OnnxBytes *b);

/* Decode; NULL after a message that says whether this is no ONNX file, or a damaged one and where. */
Onnx__Model *onnx_decode_model(Arena *a, const void *p, size_t n, Diags *d);
Onnx__Tensor *onnx_decode_tensor(Arena *a, const void *p, size_t n, Diags *d);
Onnx__Sequence *onnx_decode_sequence(Arena *a, const void *p, size_t n, Diags *d);
Onnx__Optional *onnx_decode_optional(Arena *a, const void *p, size_t n, Diags *d);

/* TensorProto -> dense tensor, checked: NULL after a message. `where` names it ("initializer 'w'"). */
const Tensor *onnx_tensor(const OnnxSource *s, const Onnx__Tensor *t, const char *where);
const Tensor *onnx_sparse_tensor(const OnnxSource *s, const Onnx__SparseTensor *t, const char *where);
/* And back. The message points into t; `a` takes what has another form in files. */
void onnx_tensor_message(Arena *a, const char *name, const Tensor *t, Onnx__Tensor *p);
const char *onnx_text(Arena *a, ProtobufCBinaryData b);        /* bytes as a C string */
#endif
