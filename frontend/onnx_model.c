/* Reads the ONNX container: maps the file, checks it, decodes it into an arena.
 *
 * protobuf-c decodes recursively and reports only "failed". So `scan` walks the bytes first, with the message
 * descriptors as its guide: it limits the nesting (a damaged or hostile file cannot exhaust the stack) and
 * knows the offset and the field where a file stops making sense, which tells a truncated download from
 * something that was never a model. Guarantee to the rest of the frontend: a decoded message is well-formed;
 * that its contents make sense is checked where they are used. */
#include "frontend/onnx_model.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/text.h"

enum { MAX_NESTING = 120 };             // a sub-graph costs three levels: node, attribute, graph

bool onnx_bytes_open(OnnxBytes *b, const char *path, Diags *d) {
  *b = (OnnxBytes){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) {
    diag_error(d, "io", NULL, "cannot open %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    return false;
  }
  if (S_ISDIR(st.st_mode)) {
    diag_error(d, "io", NULL, "%s is a folder; name the .onnx file in it", path);
    close(fd);
    return false;
  }
  if (S_ISREG(st.st_mode) && st.st_size > 0) {
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p != MAP_FAILED) *b = (OnnxBytes){p, (size_t)st.st_size, 1};
  }
  close(fd);
  if (b->at) return true;
  char why[300];                        // pipes, empty files, file systems without mmap
  b->at = file_load(path, &b->len, why, sizeof why);
  if (!b->at) diag_error(d, "io", NULL, "%s", why);
  return b->at != NULL;
}

void onnx_bytes_close(OnnxBytes *b) {
  if (b->mapped) munmap((void *)(uintptr_t)b->at, b->len);
  else free((void *)(uintptr_t)b->at);
  *b = (OnnxBytes){0};
}

/* ---- checking ---- */
typedef enum { SCAN_OK, SCAN_FOREIGN, SCAN_TRUNCATED, SCAN_DEEP } ScanResult;
typedef struct Scan {
  const uint8_t *start;
  size_t at;
  const char *message, *field;
  uint64_t need, left;
  int known;
} Scan;

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *v) {
  *v = 0;
  for (int shift = 0; *p < end && shift < 70; shift += 7) {
    uint8_t byte = *(*p)++;
    if (shift < 64) *v |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return true;
  }
  return false;
}

static ScanResult scan(Scan *s, const ProtobufCMessageDescriptor *m, const uint8_t *p, const uint8_t *end, int depth) {
  if (depth > MAX_NESTING) return SCAN_DEEP;
  while (p < end) {
    s->at = (size_t)(p - s->start), s->message = m->short_name, s->field = "?", s->need = s->left = 0;
    uint64_t tag, n = 0;
    if (!varint(&p, end, &tag)) return SCAN_TRUNCATED;
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) return SCAN_FOREIGN;
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(m, (unsigned)(tag >> 3));
    if (f) s->field = f->name;
    switch (tag & 7) {
    case 0: if (!varint(&p, end, &n)) return SCAN_TRUNCATED;
            n = 0;
            break;
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2: if (!varint(&p, end, &n)) return SCAN_TRUNCATED;
            break;
    default: return SCAN_FOREIGN;       // groups: never in ONNX
    }
    s->need = n, s->left = (uint64_t)(end - p);
    if (n > s->left) return SCAN_TRUNCATED;
    bool nested = f && f->type == PROTOBUF_C_TYPE_MESSAGE;
    bool text = f && (f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_BYTES);
    if ((nested || text) && (tag & 7) != 2) return SCAN_FOREIGN;
    if (nested) {
      ScanResult r = scan(s, f->descriptor, p, p + n, depth + 1);
      if (r != SCAN_OK) return r;
    }
    s->known += f != NULL;
    p += n;
  }
  return SCAN_OK;
}

static bool scan_report(const Scan *s, ScanResult r, const char *what, size_t n, Diags *d) {
  if (r == SCAN_OK) return true;
  if (r == SCAN_DEEP)
    diag_error(d, "parse", NULL, "messages are nested deeper than %d levels at byte %zu", MAX_NESTING, s->at);
  else if (!s->known)                    // not one field of the format before it broke
    diag_error(d, "parse", NULL, "not an ONNX %s file", what);
  else if (r == SCAN_TRUNCATED && s->need > s->left) {
    diag_error(d, "parse", NULL, "damaged or truncated: at byte %zu field '%s' of %s wants %llu bytes, %llu are left",
               s->at, s->field, s->message, (unsigned long long)s->need, (unsigned long long)s->left);
    diag_note(d, "the file has %zu bytes; was the download or copy complete?", n);
  } else
    diag_error(d, "parse", NULL, "damaged: no valid field at byte %zu, in %s", s->at, s->message);
  return false;
}

/* ---- decoding ---- */
static void *decode_alloc(void *arena, size_t n) { return arena_alloc(arena, n); }
static void decode_free(void *arena, void *p) { (void)arena; (void)p; }

static void *decode(Arena *a, const ProtobufCMessageDescriptor *m, const char *what, const void *p, size_t n,
                    Diags *d) {
  if (n == 0) {
    diag_error(d, "parse", NULL, "the file is empty, not an ONNX %s", what);
    return NULL;
  }
  Scan s = {.start = p};
  if (!scan_report(&s, scan(&s, m, p, s.start + n, 0), what, n, d)) return NULL;
  ProtobufCAllocator alloc = {decode_alloc, decode_free, a};
  void *message = protobuf_c_message_unpack(m, &alloc, n, p);
  if (!message) diag_error(d, "parse", NULL, "not an ONNX %s file: its fields do not decode", what);
  return message;
}

static const char *looks_like(const void *p, size_t n) {
  static const struct { const char *magic; int len; const char *what; } known[] = {
    {"PK\003\004", 4, "a zip archive (a PyTorch checkpoint? export it with torch.onnx.export)"},
    {"\x1f\x8b", 2, "a gzip archive"},
    {"\x89HDF", 4, "an HDF5 file (Keras? convert it with tf2onnx)"},
    {"\x93NUMPY", 6, "a NumPy array"},
    {"version https://git-lfs", 23, "a git-lfs pointer; fetch the real file with `git lfs pull`"},
    {"<!DOCTYPE", 9, "a web page"},
    {"<html", 5, "a web page"},
    {"{", 1, "JSON text"},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (n >= (size_t)known[i].len && !memcmp(p, known[i].magic, (size_t)known[i].len)) return known[i].what;
  if (n >= 8 && !memcmp((const char *)p + 4, "TFL3", 4)) return "a TensorFlow Lite model; convert it with tf2onnx";
  return NULL;
}

Onnx__Model *onnx_decode_model(Arena *a, const void *p, size_t n, Diags *d) {
  const char *other = looks_like(p, n);
  if (other) {
    diag_error(d, "parse", NULL, "not an ONNX file: it looks like %s", other);
    return NULL;
  }
  Onnx__Model *m = decode(a, &onnx__model__descriptor, "model", p, n, d);
  if (!m) return NULL;
  if (!m->graph) {
    diag_error(d, "parse", NULL,
               m->has_ir_version ? "the model has no graph"
                                 : "not an ONNX file: it has neither a version nor a graph");
    return NULL;
  }
  return m;
}

Onnx__Tensor *onnx_decode_tensor(Arena *a, const void *p, size_t n, Diags *d) {
  return decode(a, &onnx__tensor__descriptor, "tensor", p, n, d);
}

Onnx__Sequence *onnx_decode_sequence(Arena *a, const void *p, size_t n, Diags *d) {
  return decode(a, &onnx__sequence__descriptor, "sequence", p, n, d);
}

Onnx__Optional *onnx_decode_optional(Arena *a, const void *p, size_t n, Diags *d) {
  return decode(a, &onnx__optional__descriptor, "optional", p, n, d);
}

const char *onnx_text(Arena *a, ProtobufCBinaryData b) {
  char *s = arena_alloc(a, b.len + 1);
  if (b.len) memcpy(s, b.data, b.len);
  return s;
}
